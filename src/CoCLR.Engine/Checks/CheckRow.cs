// Why this exists: `coclr check` says the same to a person and to a program.
using CoCLR.Core.Manifests;

namespace CoCLR.Engine.Checks;

/// <summary>What one check found.</summary>
/// <param name="Name">What was compared or done.</param>
/// <param name="Precision">fp32, tf32 or bf16; null where there is only one way.</param>
/// <param name="Tolerance">Largest difference that passes.</param>
/// <param name="Difference">Largest difference that was found; NaN where it did not come to a comparison.</param>
/// <param name="Seconds">Time that it took.</param>
/// <param name="Note">Why it failed, or what a number means.</param>
public sealed record CheckRow(string Name, Precision? Precision, double Tolerance, double Difference, double Seconds, string? Note = null)
{
    /// <summary>Whether the difference is within the tolerance.</summary>
    public bool Passed => Difference <= Tolerance;
}

/// <summary>A comparison that has not been made yet.</summary>
/// <param name="Name">As in <see cref="CheckRow"/>.</param>
/// <param name="Precision">What the device computes with.</param>
/// <param name="Tolerance">As in <see cref="CheckRow"/>.</param>
/// <param name="Compare">Computes the difference.</param>
internal sealed record Comparison(string Name, Precision Precision, double Tolerance, Func<double> Compare);
