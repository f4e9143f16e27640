package example;

import jakarta.jms.ConnectionFactory;
import jakarta.jms.JMSException;
import org.apache.camel.Exchange;
import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.component.jms.JmsComponent;
import org.apache.camel.main.Main;
import org.apache.camel.main.MainListenerSupport;
import org.apache.camel.main.BaseMainSupport;

/** Answers the calls of the route "words" with Apache Camel. Started with: java -jar target/camel.jar */
public final class WordsRoute extends RouteBuilder {
    // begin route
    @Override
    public void configure() {
        onException(Exception.class)
            .handled(true)
            .removeHeaders("*")
            .setHeader("problem", constant("worker-failed")) // 502 for the caller; else the broker gives it again
            .setBody(constant(null));

        from("jms:queue:words?concurrentConsumers=4&transacted=true&cacheLevelName=CACHE_CONSUMER")
            .convertBodyTo(String.class)
            .process(exchange -> {
                String text = exchange.getMessage().getBody(String.class);
                exchange.getMessage().setBody("{\"words\": " + count(text) + "}");
            })
            .removeHeaders("*", "JMSCorrelationID") // else the request's go back with the reply
            .setHeader("http_status", constant(200))
            .setHeader("content_type", constant("application/json"));
    }
    // end route

    static int count(String text) {
        if (text.isBlank()) {
            throw new IllegalArgumentException("no words");
        }
        return text.trim().split("\\s+").length;
    }

    // begin main
    /** Keep the part of your broker. */
    static ConnectionFactory broker() throws JMSException {
        String url = System.getenv("BROKER_URL"), login = System.getenv("BROKER_LOGIN");
        String passcode = System.getenv("BROKER_PASSCODE");
        if ("artemis".equals(System.getenv("BROKER_KIND"))) {
            var artemis = new org.apache.activemq.artemis.jms.client.ActiveMQConnectionFactory(url, login, passcode);
            artemis.setConsumerWindowSize(0); // the next call goes to a worker that is idle
            return artemis;
        }
        var classic = new org.apache.activemq.ActiveMQConnectionFactory(login, passcode, url);
        classic.getPrefetchPolicy().setQueuePrefetch(1); // the same
        return classic;
    }

    public static void main(String[] arguments) throws Exception {
        Main main = new Main(WordsRoute.class);
        main.bind("jms", JmsComponent.jmsComponentTransacted(broker()));
        // end main
        main.addMainListener(new MainListenerSupport() {
            @Override
            public void afterStart(BaseMainSupport started) {
                System.out.println("ready");
            }
        });
        main.run(arguments);
    }
}
