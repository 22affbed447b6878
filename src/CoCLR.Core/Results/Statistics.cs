// Why this exists: a suite's spread over its seeds is one number, whoever shows it.
namespace CoCLR.Core.Results;

/// <summary>Statistics of a few values.</summary>
public static class Statistics
{
    /// <summary>The sample standard deviation (n - 1); null with fewer than two values.</summary>
    /// <param name="values">The values.</param>
    public static double? StandardDeviation(IReadOnlyCollection<double> values)
    {
        ArgumentNullException.ThrowIfNull(values);
        if (values.Count < 2)
        {
            return null;
        }

        double mean = values.Average();
        return Math.Sqrt(values.Sum(v => (v - mean) * (v - mean)) / (values.Count - 1));
    }
}
