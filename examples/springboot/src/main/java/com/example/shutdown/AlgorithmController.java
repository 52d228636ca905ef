package com.example.shutdown;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;
import java.util.Map;
import org.springframework.http.HttpHeaders;
import org.springframework.http.MediaType;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RestController;

/** What the front end calls: the paths of the service itself, with the same answers and errors. */
@RestController
public class AlgorithmController {

    private final ModelVersionService models;

    public AlgorithmController(ModelVersionService models) {
        this.models = models;
    }

    /** The request of the Vue component. Take userId from the login instead where there is one. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record RunRequest(List<Double> params, String experiment, @JsonProperty("user_id") String userId) {}

    /** A person's verdict on a run, 1 (bad) to 5 (good). */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Feedback(
            @JsonProperty("request_id") String requestId,
            @JsonProperty("user_satisfaction") int userSatisfaction,
            String comment) {}

    @PostMapping("/api/algorithm/run")
    public AlgorithmResult run(@RequestBody RunRequest request) {
        return models.runAlgorithmWithAB(request.params(), request.experiment(), request.userId());
    }

    @PostMapping("/feedback")
    public Map<?, ?> giveFeedback(@RequestBody Feedback feedback) {
        return models.giveFeedback(feedback.requestId(), feedback.userSatisfaction(), feedback.comment());
    }

    /** The service's own words go on to the browser; that our key is wrong is nothing for it to know. */
    @ExceptionHandler(ModelServiceException.class)
    public ResponseEntity<Problem> tell(ModelServiceException refused) {
        Problem problem = refused.getProblem();
        if (problem.status() == 401 || problem.status() == 403) {
            problem = new Problem("Bad Gateway", 502, "the scheduling service refused us");
        }
        ResponseEntity.BodyBuilder answer = ResponseEntity.status(problem.status())
                .contentType(MediaType.parseMediaType("application/problem+json"));
        if (refused.getRetryAfterSeconds() != null) {
            answer.header(HttpHeaders.RETRY_AFTER, refused.getRetryAfterSeconds().toString());
        }
        return answer.body(problem);
    }
}
