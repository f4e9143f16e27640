package example;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** Answers the calls of the route "words" with Spring Boot. Started with: java -jar target/spring-boot.jar */
@SpringBootApplication
public class WordsApplication {
    public static void main(String[] arguments) {
        SpringApplication.run(WordsApplication.class, arguments);
        System.out.println("ready");
    }
}
