package com.example.shutdown;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import java.util.List;

/**
 * An error of the service, application/problem+json (RFC 9457).
 *
 * @param detail what is wrong, as a sentence
 * @param error the same text as detail, for clients that read that field
 * @param errors where each mistake is; null unless the status is 422
 */
@JsonIgnoreProperties(ignoreUnknown = true)
public record Problem(String type, String title, int status, String detail, String error, List<Mistake> errors) {

    /** A problem of this side of the connection. */
    public Problem(String title, int status, String detail) {
        this("about:blank", title, status, detail, detail, null);
    }

    /** One mistake: loc leads to the field, by names and places in lists. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Mistake(List<Object> loc, String msg) {}
}
