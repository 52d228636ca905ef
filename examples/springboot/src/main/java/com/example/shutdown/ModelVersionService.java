package com.example.shutdown;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.HttpRetryException;
import java.net.SocketTimeoutException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.http.HttpHeaders;
import org.springframework.http.ResponseEntity;
import org.springframework.http.converter.HttpMessageNotReadableException;
import org.springframework.stereotype.Service;
import org.springframework.web.client.HttpStatusCodeException;
import org.springframework.web.client.ResourceAccessException;
import org.springframework.web.client.RestClientException;
import org.springframework.web.client.RestTemplate;

/** Calls the scheduling service. Every method throws {@link ModelServiceException}. */
@Service
public class ModelVersionService {

    private static final ObjectMapper JSON = new ObjectMapper();

    @Value("${model.service.url}")
    private String modelServiceUrl;

    /** How long a caller may be kept waiting in all while the service says that it is busy. */
    @Value("${model.service.max-wait-seconds:5}")
    private int maxWaitSeconds;

    private final RestTemplate restTemplate;

    public ModelVersionService(RestTemplate modelServiceRestTemplate) {
        this.restTemplate = modelServiceRestTemplate;
    }

    /**
     * A schedule of the standard inspection cycle.
     *
     * @param params 15 durations, hours
     * @param experiment whose assignment decides which model answers; may be null
     * @param userId the unit of assignment: a user always gets the same model; may be null
     */
    public AlgorithmResult runAlgorithmWithAB(List<Double> params, String experiment, String userId) {
        Map<String, Object> request = new HashMap<>(); // Map.of refuses null
        request.put("params", params);
        request.put("experiment", experiment);
        request.put("user_id", userId);
        return runAlgorithm(request);
    }

    /** A schedule; the request may have every field of docs/http-api.md: workpoints, time_budget_ms, charts, ... */
    public AlgorithmResult runAlgorithm(Map<String, Object> request) {
        return post("/run_algorithm", request, AlgorithmResult.class);
    }

    /** Ties a person's verdict to a run: 1 (bad) to 5 (good), with a comment or null. */
    public Map<?, ?> giveFeedback(String requestId, int userSatisfaction, String comment) {
        Map<String, Object> request = new HashMap<>();
        request.put("request_id", requestId);
        request.put("user_satisfaction", userSatisfaction);
        request.put("comment", comment);
        return post("/feedback", request, Map.class);
    }

    private <T> T post(String path, Map<String, Object> request, Class<T> type) {
        int waitedSeconds = 0;
        while (true) {
            try {
                ResponseEntity<T> response = restTemplate.postForEntity(modelServiceUrl + path, request, type);
                return response.getBody();
            } catch (HttpStatusCodeException refused) {
                // 429 and 503 say that nothing was done, so that asking again is safe.
                Integer waitSeconds = retryAfterSeconds(refused.getResponseHeaders());
                if (waitSeconds == null || waitedSeconds + waitSeconds > maxWaitSeconds) {
                    throw new ModelServiceException(problemOf(refused), waitSeconds, refused);
                }
                waitedSeconds += waitSeconds;
                pause(waitSeconds, refused);
            } catch (ResourceAccessException unanswered) {
                throw new ModelServiceException(problemOf(unanswered), null, unanswered);
            } catch (RestClientException | HttpMessageNotReadableException unreadable) {
                // The page of a login or of a proxy in between, with status 200.
                Problem problem = new Problem("Bad Gateway", 502, "the answer is none of the scheduling service");
                throw new ModelServiceException(problem, null, unreadable);
            }
        }
    }

    private static Integer retryAfterSeconds(HttpHeaders headers) {
        String told = headers == null ? null : headers.getFirst("Retry-After");
        return told != null && told.matches("\\d{1,6}") ? Math.max(1, Integer.parseInt(told)) : null;
    }

    private static void pause(int seconds, HttpStatusCodeException refused) {
        try {
            Thread.sleep(1000L * seconds);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw new ModelServiceException(problemOf(refused), seconds, refused);
        }
    }

    private static Problem problemOf(HttpStatusCodeException refused) {
        int status = refused.getStatusCode().value();
        try {
            Problem problem = JSON.readValue(refused.getResponseBodyAsByteArray(), Problem.class);
            if (problem.detail() != null && problem.status() == status) {
                return problem;
            }
        } catch (IOException notJson) {
            // The answer of a proxy in between; or none, since HttpURLConnection may swallow the body of a 401.
        }
        return withoutBody(status);
    }

    private static Problem problemOf(ResourceAccessException unanswered) {
        Throwable cause = unanswered.getCause();
        if (cause instanceof HttpRetryException) {
            // From Spring 6.1 on HttpURLConnection streams what it sends, and hides a 401 behind this exception.
            return withoutBody(((HttpRetryException) cause).responseCode());
        }
        return cause instanceof SocketTimeoutException
                ? new Problem("Gateway Timeout", 504, "the scheduling service is too slow")
                : new Problem("Bad Gateway", 502, "the scheduling service cannot be reached");
    }

    private static Problem withoutBody(int status) {
        String detail = status == 401
                ? "model.service.key is missing or unknown"
                : "the scheduling service answered " + status;
        return new Problem("Error", status, detail);
    }
}
