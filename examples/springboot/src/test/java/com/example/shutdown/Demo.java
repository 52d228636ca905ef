package com.example.shutdown;

import java.util.Arrays;
import java.util.List;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;

/**
 * What a back end does with the service, without a web server: java com.example.shutdown.Demo EXPERIMENT.
 *
 * <p>The system properties model.service.* say where the service is, as application.yml does in Spring Boot.
 */
public final class Demo {

    private static final List<Double> HOURS =
            Arrays.asList(10., 5., 8., 6., 7., 9., 6., 7., 6., 7., 7., 7., 4., 7., 5.);

    private Demo() {}

    public static void main(String[] arguments) {
        try (AnnotationConfigApplicationContext spring = new AnnotationConfigApplicationContext()) {
            spring.register(ModelServiceConfiguration.class, ModelVersionService.class, AlgorithmController.class);
            spring.refresh();
            ModelVersionService models = spring.getBean(ModelVersionService.class);
            try {
                schedule(models, arguments[0]);
                mistakes(models, spring.getBean(AlgorithmController.class));
            } catch (ModelServiceException refused) {
                System.out.println("refused with " + refused.getStatus() + ": " + refused.getMessage());
                System.exit(1);
            }
        }
    }

    private static void schedule(ModelVersionService models, String experiment) {
        AlgorithmResult answer = models.runAlgorithmWithAB(HOURS, experiment, "user_12345");
        AlgorithmResult.Result result = answer.result();
        System.out.printf("makespan %.2f h, gap %.3f%n", result.makespan(), result.gap());
        System.out.println("model " + answer.experimentInfo().modelUsed() + ", " + answer.experimentInfo().variant());
        System.out.println("reason " + answer.experimentInfo().reason());
        for (AlgorithmResult.ScheduledStep step : result.scheduleDetails()) {
            System.out.printf(
                    "  %6.2f - %6.2f  %s x %2d  %s%n",
                    step.start(), step.end(), step.team(), step.workers(), step.name());
        }
        models.giveFeedback(answer.requestId(), 5, "as planned");
        System.out.println("feedback for " + answer.requestId());
    }

    private static void mistakes(ModelVersionService models, AlgorithmController controller) {
        try {
            models.runAlgorithmWithAB(HOURS.subList(0, 3), null, null);
        } catch (ModelServiceException refused) {
            System.out.println("mistake " + refused.getStatus() + ": " + refused.getMessage());
            System.out.println("at " + refused.getProblem().errors().get(0).loc());
            System.out.println("front end " + controller.tell(refused).getStatusCode());
        }
        try {
            models.giveFeedback("no-such-run", 5, null);
        } catch (ModelServiceException refused) {
            System.out.println("mistake " + refused.getStatus() + ": " + refused.getMessage());
        }
    }
}
