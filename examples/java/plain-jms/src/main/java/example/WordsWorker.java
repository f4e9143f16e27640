package example;

import jakarta.jms.Connection;
import jakarta.jms.InvalidDestinationException;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageProducer;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;

/** Answers the calls of the route "words" with plain Jakarta JMS. Started with: java -jar target/plain-jms.jar */
public final class WordsWorker {
    private static final int SLOTS = 4;

    private WordsWorker() {}

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = Broker.factory().createConnection(Broker.LOGIN, Broker.PASSCODE)) {
            CountDownLatch lost = new CountDownLatch(1);
            connection.setExceptionListener(error -> lost.countDown());
            for (int slot = 0; slot < SLOTS; slot++) {
                serve(connection, "words");
            }
            connection.start();
            System.out.println("ready");
            lost.await();
        }
        System.err.println("the connection is lost");
        System.exit(1); // whoever started it starts it again; or see "failover:" and "reconnectAttempts"
    }

    // begin serve
    /** One session for each call at a time. Reply and acknowledgement are one transaction. */
    static void serve(Connection connection, String queue) throws JMSException {
        Session session = connection.createSession(true, Session.SESSION_TRANSACTED);
        MessageProducer replies = session.createProducer(null);
        session.createConsumer(session.createQueue(queue)).setMessageListener(request -> {
            try {
                if (request.getJMSReplyTo() != null) {
                    send(replies, request, answer(session, request));
                }
                session.commit();
            } catch (JMSException error) {
                throw new IllegalStateException(error); // rolled back: the broker gives the message again
            }
        });
    }

    /** The two things that a worker must do: copy JMSCorrelationID, send to JMSReplyTo. */
    static void send(MessageProducer replies, Message request, Message reply) throws JMSException {
        String call = request.getJMSCorrelationID();
        reply.setJMSCorrelationID(call != null ? call : request.getJMSMessageID());
        try {
            replies.send(request.getJMSReplyTo(), reply, request.getJMSDeliveryMode(), request.getJMSPriority(), 0);
        } catch (InvalidDestinationException gone) {
            System.err.println("nobody waits for " + call + " any more");
        }
    }
    // end serve

    // begin answer
    /** Your work. Status, media type and headers are optional: without them it is 200 and text/plain. */
    static Message answer(Session session, Message request) throws JMSException {
        try {
            String text = request instanceof TextMessage message ? message.getText() : utf8(request);
            TextMessage reply = session.createTextMessage("{\"words\": " + count(text) + "}");
            reply.setIntProperty("http_status", 200);
            reply.setStringProperty("content_type", "application/json");
            return reply;
        } catch (RuntimeException error) { // else the broker gives it again and again, and the caller waits
            Message reply = session.createMessage();
            reply.setStringProperty("problem", "worker-failed"); // 502 for the caller
            return reply;
        }
    }

    static int count(String text) {
        if (text.isBlank()) {
            throw new IllegalArgumentException("no words");
        }
        return text.trim().split("\\s+").length;
    }

    /** A body that is not text, or not UTF-8, is a BytesMessage. */
    static String utf8(Message request) throws JMSException {
        return new String(request.getBody(byte[].class), StandardCharsets.UTF_8);
    }
    // end answer
}
