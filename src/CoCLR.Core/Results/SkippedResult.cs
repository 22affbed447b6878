// Why this exists: a stage that has nothing to measure (a probe without labels) succeeds and says so, instead of failing the run.
namespace CoCLR.Core.Results;

/// <summary>A stage that had nothing to do.</summary>
/// <param name="Reason">Why.</param>
public sealed record SkippedResult(string Reason) : Outcome;
