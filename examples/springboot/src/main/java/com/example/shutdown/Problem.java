package com.example.shutdown;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import java.util.List;

/**
 * An error of the service, application/problem+json (RFC 9457).
 *
 * @param detail what is wrong, as a sentence
 * @param errors where each mistake is; null unless the status is 422
 */
@JsonIgnoreProperties(ignoreUnknown = true)
public record Problem(String type, String title, int status, String detail, List<Mistake> errors) {

    /** One mistake: loc leads to the field, by names and places in lists. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Mistake(List<Object> loc, String msg) {}
}
