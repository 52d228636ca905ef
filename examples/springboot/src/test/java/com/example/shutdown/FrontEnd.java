package com.example.shutdown;

import static org.springframework.test.web.servlet.request.MockMvcRequestBuilders.post;

import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Scanner;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.http.MediaType;
import org.springframework.mock.web.MockHttpServletResponse;
import org.springframework.test.web.servlet.MockMvc;
import org.springframework.test.web.servlet.setup.MockMvcBuilders;

/**
 * What a front end sees of the controller: each line of the input is a path and a body, each line of the output the
 * status, the type, Retry-After and the body of the answer, separated by tabs.
 */
public final class FrontEnd {

    private FrontEnd() {}

    public static void main(String[] arguments) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        try (AnnotationConfigApplicationContext spring = new AnnotationConfigApplicationContext();
                Scanner in = new Scanner(System.in, StandardCharsets.UTF_8)) {
            spring.register(ModelServiceConfiguration.class, ModelVersionService.class, AlgorithmController.class);
            spring.refresh();
            MockMvc web = MockMvcBuilders.standaloneSetup(spring.getBean(AlgorithmController.class)).build();
            while (in.hasNextLine()) {
                String[] asked = in.nextLine().split(" ", 2);
                MockHttpServletResponse answer = web.perform(
                                post(asked[0]).contentType(MediaType.APPLICATION_JSON).content(asked[1]))
                        .andReturn()
                        .getResponse();
                String body = new String(answer.getContentAsByteArray(), StandardCharsets.UTF_8);
                out.println(answer.getStatus() + "\t" + answer.getContentType() + "\t"
                        + answer.getHeader("Retry-After") + "\t" + body);
            }
        }
    }
}
