package example;

import jakarta.jms.BytesMessage;
import jakarta.jms.Connection;
import jakarta.jms.DeliveryMode;
import jakarta.jms.JMSException;
import jakarta.jms.MapMessage;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.ObjectMessage;
import jakarta.jms.Session;
import jakarta.jms.StreamMessage;
import jakarta.jms.TemporaryQueue;
import jakarta.jms.TextMessage;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.StringJoiner;
import java.util.concurrent.CountDownLatch;

/** A JMS program that does as the tests tell it. What it sees it prints, one line each. */
public final class Probe {
    private Probe() {}

    /** A class that no broker knows. */
    record Unknown(String value) implements Serializable {}

    public static void main(String[] arguments) throws Exception {
        try (Connection connection = Broker.factory().createConnection(Broker.LOGIN, Broker.PASSCODE)) {
            connection.start();
            switch (arguments[0]) {
                case "work" -> work(connection, arguments[1], arguments[2]);
                case "ask" -> ask(connection, arguments[1], List.of(arguments).subList(2, arguments.length));
                case "take" -> take(connection, arguments[1]);
                default -> throw new IllegalArgumentException(arguments[0]);
            }
        }
    }

    /** Work as the bodies of requests say. {@code acknowledgement}: transacted or client. */
    private static void work(Connection connection, String queue, String acknowledgement) throws Exception {
        boolean transacted = acknowledgement.equals("transacted");
        Session session = connection.createSession(transacted, transacted ? Session.SESSION_TRANSACTED : Session.CLIENT_ACKNOWLEDGE);
        MessageProducer replies = session.createProducer(null);
        MessageConsumer consumer = session.createConsumer(session.createQueue(queue));
        System.out.println("ready");
        while (true) {
            Message request = consumer.receive();
            String[] order = text(request).split(" ");
            System.out.println("took " + String.join(" ", order) + " redelivered=" + request.getJMSRedelivered());
            switch (order[0]) {
                case "reply" -> WordsWorker.send(replies, request, make(session, order[1], order.length > 2 ? order[2] : null));
                case "see" -> WordsWorker.send(replies, request, session.createTextMessage(seen(request)));
                case "once" -> {
                    if (!request.getJMSRedelivered()) {
                        session.rollback();
                        continue;
                    }
                    WordsWorker.send(replies, request, session.createTextMessage("the second time"));
                }
                case "hang-once" -> {
                    if (!request.getJMSRedelivered()) {
                        new CountDownLatch(1).await();
                    }
                    WordsWorker.send(replies, request, session.createTextMessage("the second time"));
                }
                case "wait" -> {
                    Thread.sleep(Long.parseLong(order[1]));
                    WordsWorker.send(replies, request, make(session, order[2], null));
                }
                default -> throw new IllegalArgumentException(order[0]);
            }
            if (transacted) {
                session.commit();
            } else {
                request.acknowledge();
            }
        }
    }

    /** Send a message of each kind, with typed properties, and print what comes back. */
    private static void ask(Connection connection, String queue, List<String> kinds) throws Exception {
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        TemporaryQueue replies = session.createTemporaryQueue();
        MessageProducer producer = session.createProducer(session.createQueue(queue));
        for (String kind : kinds) {
            Message request = make(session, kind, null);
            request.setJMSReplyTo(replies);
            request.setJMSCorrelationID("call of " + kind);
            request.setStringProperty("kind", kind);
            request.setBooleanProperty("of_boolean", true);
            request.setIntProperty("of_int", 7);
            request.setDoubleProperty("of_double", 1.5);
            producer.send(request, DeliveryMode.PERSISTENT, 7, 20_000);
            MessageConsumer consumer = session.createConsumer(replies, "JMSCorrelationID = 'call of " + kind + "'");
            Message reply = consumer.receive(3_000);
            System.out.println(kind + ": " + (reply == null ? "nothing" : seen(reply)));
            consumer.close();
        }
    }

    private static void take(Connection connection, String queue) throws Exception {
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        Message message = session.createConsumer(session.createQueue(queue)).receive(3_000);
        System.out.println(message == null ? "nothing" : seen(message));
    }

    private static Message make(Session session, String kind, String status) throws JMSException {
        Message message = switch (kind) {
            case "text" -> session.createTextMessage("zwölf Boxkämpfer \u20ac \ud83d\ude00");
            case "empty-text" -> session.createTextMessage("");
            case "final-text", "said-to-be-empty" -> session.createTextMessage("");
            case "null-text" -> session.createTextMessage();
            case "bytes" -> bytes(session, new byte[] {0, 1, (byte) 0xff, 10, 0});
            case "empty-bytes" -> session.createBytesMessage();
            case "map" -> map(session, 1);
            case "large-map" -> map(session, 300);
            case "empty-map" -> session.createMapMessage();
            case "object" -> session.createObjectMessage("a string");
            case "list" -> session.createObjectMessage(new ArrayList<>(List.of("a", "b")));
            case "unknown-object" -> session.createObjectMessage(new Unknown("x"));
            case "stream" -> stream(session);
            case "message" -> session.createMessage();
            default -> throw new IllegalArgumentException(kind);
        };
        if (status != null) {
            message.setIntProperty("http_status", Integer.parseInt(status));
        }
        if (kind.equals("final-text")) {
            message.setStringProperty("reply_kind", "final");
        }
        if (kind.equals("said-to-be-empty")) {
            message.setIntProperty("content_length", 0);
        }
        return message;
    }

    private static Message bytes(Session session, byte[] body) throws JMSException {
        BytesMessage message = session.createBytesMessage();
        message.writeBytes(body);
        return message;
    }

    private static Message map(Session session, int entries) throws JMSException {
        MapMessage message = session.createMapMessage();
        for (int entry = 0; entry < entries; entry++) {
            message.setString("key" + entry, "value");
        }
        return message;
    }

    private static Message stream(Session session) throws JMSException {
        StreamMessage message = session.createStreamMessage();
        message.writeString("a");
        message.writeInt(4);
        return message;
    }

    private static String text(Message message) throws JMSException {
        return message instanceof TextMessage text ? text.getText() : new String(message.getBody(byte[].class), StandardCharsets.UTF_8);
    }

    /** All that JMS tells of a message, as JSON. */
    private static String seen(Message message) throws JMSException {
        StringJoiner json = new StringJoiner(", ", "{", "}");
        if (message instanceof TextMessage text) {
            add(json, "kind", "text");
            add(json, "body", text.getText());
        } else if (message instanceof BytesMessage) {
            add(json, "kind", "bytes");
            byte[] body = message.getBody(byte[].class);
            add(json, "body", body == null ? "" : HexFormat.of().formatHex(body));
        } else {
            add(json, "kind", message instanceof ObjectMessage ? "object" : message.getClass().getSimpleName());
        }
        add(json, "id", message.getJMSMessageID());
        add(json, "correlation_id", message.getJMSCorrelationID());
        add(json, "reply_to", message.getJMSReplyTo() == null ? null : message.getJMSReplyTo().toString());
        add(json, "type", message.getJMSType());
        json.add("\"priority\": " + message.getJMSPriority());
        json.add("\"expires\": " + message.getJMSExpiration());
        json.add("\"persistent\": " + (message.getJMSDeliveryMode() == DeliveryMode.PERSISTENT));
        for (Object name : Collections.list(message.getPropertyNames())) {
            Object value = message.getObjectProperty((String) name);
            add(json, "property " + name, value + (value instanceof String ? "" : " " + value.getClass().getSimpleName()));
        }
        return json.toString();
    }

    private static void add(StringJoiner json, String name, String value) {
        json.add('"' + name + "\": " + (value == null ? "null" : '"' + value.replace("\\", "\\\\").replace("\"", "\\\"") + '"'));
    }
}
