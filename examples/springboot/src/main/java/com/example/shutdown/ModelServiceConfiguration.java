package com.example.shutdown;

import java.util.Collections;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.annotation.Bean;
import org.springframework.http.client.ClientHttpRequestInterceptor;
import org.springframework.http.client.SimpleClientHttpRequestFactory;
import org.springframework.stereotype.Component;
import org.springframework.web.client.RestTemplate;

/**
 * The RestTemplate for the scheduling service: timeouts, and the API key in a header.
 *
 * <p>A component, not a configuration: a bean that calls no other one needs no proxy.
 */
@Component
public class ModelServiceConfiguration {

    /** The read timeout must exceed the longest time_budget_ms that is asked for. */
    @Bean
    public RestTemplate modelServiceRestTemplate(
            @Value("${model.service.key:}") String key,
            @Value("${model.service.connect-timeout-ms:2000}") int connectTimeoutMs,
            @Value("${model.service.read-timeout-ms:90000}") int readTimeoutMs) {
        SimpleClientHttpRequestFactory requests = new SimpleClientHttpRequestFactory();
        requests.setConnectTimeout(connectTimeoutMs);
        requests.setReadTimeout(readTimeoutMs);
        RestTemplate restTemplate = new RestTemplate(requests);
        ClientHttpRequestInterceptor withKey = (request, body, execution) -> {
            request.getHeaders().set("X-API-Key", key);
            return execution.execute(request, body);
        };
        if (!key.isEmpty()) {
            restTemplate.setInterceptors(Collections.singletonList(withKey));
        }
        return restTemplate;
    }
}
