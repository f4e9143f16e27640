package example;

import jakarta.jms.ConnectionFactory;
import jakarta.jms.JMSException;

/** Where the broker is, from the environment: no passcode stands on a command line or in a file of the program. */
final class Broker {
    static final String URL = get("BROKER_URL", "tcp://127.0.0.1:61616");
    static final String LOGIN = get("BROKER_LOGIN", "bridge");
    static final String PASSCODE = get("BROKER_PASSCODE", "");

    private Broker() {}

    // begin factory
    /** Keep the part of your broker; the rest of the program is plain JMS. */
    static ConnectionFactory factory() throws JMSException {
        if (get("BROKER_KIND", "classic").equals("artemis")) {
            var artemis = new org.apache.activemq.artemis.jms.client.ActiveMQConnectionFactory(URL);
            artemis.setConsumerWindowSize(0); // take no more than is worked on: the next call goes to an idle worker
            return artemis;
        }
        var classic = new org.apache.activemq.ActiveMQConnectionFactory(URL);
        classic.getPrefetchPolicy().setQueuePrefetch(1); // the same
        return classic;
    }
    // end factory

    private static String get(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }
}
