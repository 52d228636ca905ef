package com.example.shutdown;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;
import java.util.Map;

/**
 * The answer of POST /run_algorithm. Hours everywhere, but for executionTime: seconds. Shares are 0..1.
 *
 * <p>The service may add fields; those that are not named here are passed over.
 */
@JsonIgnoreProperties(ignoreUnknown = true)
public record AlgorithmResult(
        String status,
        Result result,
        Performance performance,
        @JsonProperty("experiment_info") ExperimentInfo experimentInfo,
        boolean cached,
        @JsonProperty("request_id") String requestId) {

    /**
     * The schedule.
     *
     * @param makespan end of the last step
     * @param lowerBound no schedule is shorter
     * @param gap makespan / lowerBound - 1; 0 proves the schedule to be optimal
     * @param ganttCharts pictures in base64 by view, as far as they were asked for
     * @param plotImage the first of these; null when none was asked for
     */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Result(
            double makespan,
            @JsonProperty("lower_bound") double lowerBound,
            double gap,
            @JsonProperty("resource_utilization") double resourceUtilization,
            @JsonProperty("team_utilization") Map<String, Double> teamUtilization,
            @JsonProperty("team_headcount") Map<String, Integer> teamHeadcount,
            @JsonProperty("schedule_details") List<ScheduledStep> scheduleDetails,
            @JsonProperty("gantt_charts") Map<String, String> ganttCharts,
            @JsonProperty("plot_image") String plotImage,
            @JsonProperty("model_info") ModelInfo modelInfo,
            String stage,
            long evaluations,
            @JsonProperty("search_cut_short") boolean searchCutShort) {}

    /**
     * A step in the schedule.
     *
     * @param id work point and step: "1.1"
     * @param order null where predecessors are named instead
     * @param workers people at work on it
     * @param start hours after the start of the shutdown
     * @param critical delayed, it delays the makespan
     */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record ScheduledStep(
            String id,
            String name,
            @JsonProperty("workpoint_id") String workpointId,
            @JsonProperty("workpoint_name") String workpointName,
            String team,
            Integer order,
            int workers,
            double start,
            double end,
            boolean critical) {}

    /** The model that built the schedule. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record ModelInfo(@JsonProperty("model_key") String modelKey, String algorithm, String version) {}

    /** What is recorded of the run. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Performance(
            double makespan,
            @JsonProperty("policy_makespan") double policyMakespan,
            @JsonProperty("execution_time") double executionTime,
            @JsonProperty("resource_utilization") double resourceUtilization) {}

    /**
     * Which model answered, and why.
     *
     * @param variant the arm of the experiment; null if it did not decide
     * @param reason assigned, default, pinned, experiment_not_found, experiment_not_active or fallback
     */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record ExperimentInfo(
            String experiment,
            String variant,
            @JsonProperty("model_used") String modelUsed,
            @JsonProperty("user_id") String userId,
            @JsonProperty("user_id_generated") boolean userIdGenerated,
            String reason) {}
}
