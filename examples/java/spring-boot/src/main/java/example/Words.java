package example;

// begin listener
import jakarta.jms.JMSException;
import jakarta.jms.TextMessage;
import java.nio.charset.StandardCharsets;
import org.springframework.jms.annotation.JmsListener;
import org.springframework.messaging.Message;
import org.springframework.messaging.support.MessageBuilder;
import org.springframework.stereotype.Component;

/** Spring copies JMSCorrelationID and sends to JMSReplyTo by itself. */
@Component
class Words {
    /** Takes the JMS message: a String parameter gets something else of bytes, and a blank text never arrives. */
    @JmsListener(destination = "words", concurrency = "4")
    Message<String> answer(jakarta.jms.Message request) {
        try {
            return MessageBuilder.withPayload("{\"words\": " + count(text(request)) + "}")
                .setHeader("http_status", 200)
                .setHeader("content_type", "application/json")
                .build();
        } catch (JMSException | RuntimeException error) { // else the broker gives it again, and the caller waits
            return MessageBuilder.withPayload("").setHeader("problem", "worker-failed").build(); // 502 for the caller
        }
    }

    static String text(jakarta.jms.Message request) throws JMSException {
        return request instanceof TextMessage message
            ? message.getText()
            : new String(request.getBody(byte[].class), StandardCharsets.UTF_8);
    }
    // end listener

    static int count(String text) {
        if (text.isBlank()) {
            throw new IllegalArgumentException("no words");
        }
        return text.trim().split("\\s+").length;
    }
}
