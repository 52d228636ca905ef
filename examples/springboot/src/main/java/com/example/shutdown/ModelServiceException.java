package com.example.shutdown;

/** The scheduling service refused a request, or gave no answer; the message says why, in its own words. */
public class ModelServiceException extends RuntimeException {

    private static final long serialVersionUID = 1L;

    private final transient Problem problem;
    private final Integer retryAfterSeconds;

    public ModelServiceException(Problem problem, Integer retryAfterSeconds, Throwable cause) {
        super(problem.detail(), cause);
        this.problem = problem;
        this.retryAfterSeconds = retryAfterSeconds;
    }

    /** What the service answered; of status 502 or 504 if no answer came. */
    public Problem getProblem() {
        return problem;
    }

    public int getStatus() {
        return problem.status();
    }

    /** When to come back, as the service said with 429 and 503; otherwise null. */
    public Integer getRetryAfterSeconds() {
        return retryAfterSeconds;
    }
}
