package example;

import jakarta.jms.ConnectionFactory;
import jakarta.jms.JMSContext;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.Queue;
import jakarta.jms.QueueConnection;
import jakarta.jms.QueueRequestor;
import jakarta.jms.QueueSession;
import jakarta.jms.Session;
import jakarta.jms.TemporaryQueue;
import jakarta.jms.TextMessage;
import java.time.Duration;
import java.util.HexFormat;
import java.util.Objects;
import java.util.UUID;

/** Asks a worker of ours without any HTTP. Started with: java -jar target/requester.jar context|requestor QUEUE TEXT */
public final class Requester {
    private Requester() {}

    public static void main(String[] arguments) throws Exception {
        Message reply = switch (arguments[0]) {
            case "context" -> withContext(arguments[1], arguments[2], Duration.ofSeconds(10));
            case "requestor" -> withRequestor(arguments[1], arguments[2]);
            default -> throw new IllegalArgumentException("context or requestor");
        };
        if (reply == null) {
            System.err.println("no reply in time");
            System.exit(1);
        }
        System.out.println(read(reply));
    }

    // begin read
    /** Text comes as a TextMessage, all else as a BytesMessage. "problem": the worker's word that there is no answer. */
    static String read(Message reply) throws JMSException {
        if (reply.propertyExists("problem")) {
            throw new IllegalStateException("no answer: " + reply.getStringProperty("problem"));
        }
        String body = reply instanceof TextMessage text
            ? text.getText()
            : HexFormat.of().formatHex(Objects.requireNonNullElse(reply.getBody(byte[].class), new byte[0]));
        return reply.getStringProperty("http_status") + " " + reply.getStringProperty("content_type") + ": " + body;
    }
    // end read

    // begin context
    /** With a deadline: the worker does not begin what nobody waits for any more. */
    static Message withContext(String queue, String text, Duration patience) throws JMSException {
        try (JMSContext context = Broker.factory().createContext(Broker.LOGIN, Broker.PASSCODE)) {
            TemporaryQueue replies = context.createTemporaryQueue();
            TextMessage request = context.createTextMessage(text);
            request.setStringProperty("content_type", "text/plain");
            String call = UUID.randomUUID().toString();
            context.createProducer()
                .setJMSReplyTo(replies)
                .setJMSCorrelationID(call)
                .setTimeToLive(patience.toMillis())
                .send(context.createQueue(queue), request);
            // The selector: whoever shares one reply queue among several calls takes only its own.
            return context.createConsumer(replies, "JMSCorrelationID = '" + call + "'").receive(patience.toMillis());
        }
    }
    // end context

    // begin requestor
    /** The shortest way: no correlation id, so the worker sends back the message's id. It waits without end. */
    static Message withRequestor(String queue, String text) throws JMSException {
        ConnectionFactory factory = Broker.factory();
        try (var connection = (QueueConnection) factory.createConnection(Broker.LOGIN, Broker.PASSCODE)) {
            connection.start();
            QueueSession session = connection.createQueueSession(false, Session.AUTO_ACKNOWLEDGE);
            Queue target = session.createQueue(queue);
            return new QueueRequestor(session, target).request(session.createTextMessage(text));
        }
    }
    // end requestor
}
