// Why this exists: an epoch may be chosen on training videos that were held out, but never on siblings of videos that were trained on.
using CoCLR.Core;

namespace CoCLR.Engine.Features;

/// <summary>Holds out a part of the training videos, whole source groups at a time (method.md part 2).</summary>
public static class Holdout
{
    /// <summary>Share of the training videos that is held out to choose an epoch.</summary>
    public const double Fraction = 0.2;

    private static readonly ulong Purpose = CounterRandom.Purpose("holdout");

    /// <summary>
    /// Splits rows into kept and held out. Which groups are held out depends on the seed and the names only, not on their order.
    /// </summary>
    /// <param name="ids">Video ids.</param>
    /// <param name="groups">Source groups, or null where each video is its own.</param>
    /// <param name="fraction">Share of the videos to hold out, in (0, 1).</param>
    /// <param name="seed">The seed.</param>
    /// <exception cref="UserErrorException">There are fewer than two groups (65).</exception>
    public static (int[] Kept, int[] Held) Split(IReadOnlyList<string> ids, IReadOnlyList<string>? groups, double fraction, long seed)
    {
        ArgumentNullException.ThrowIfNull(ids);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(fraction);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(fraction, 1);
        var names = groups ?? ids;
        var order = names.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal).ToArray();
        if (order.Length < 2)
        {
            throw new UserErrorException(
                $"nothing can be held out of {ids.Count} training videos in {order.Length} source group(s): use `selection: last` or add "
                    + $"videos of other sources.", ExitCodes.BadData);
        }

        new CounterRandom(seed, Purpose).Shuffle(order.AsSpan());
        var sizes = names.CountBy(n => n, StringComparer.Ordinal).ToDictionary(StringComparer.Ordinal);
        var held = new HashSet<string>(StringComparer.Ordinal);
        var count = 0;
        foreach (var group in order[..^1])
        {
            if (count >= fraction * ids.Count)
            {
                break;
            }

            held.Add(group);
            count += sizes[group];
        }

        var rows = Enumerable.Range(0, ids.Count).ToLookup(i => held.Contains(names[i]));
        return ([.. rows[false]], [.. rows[true]]);
    }
}
