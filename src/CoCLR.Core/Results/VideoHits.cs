// Why this exists: a difference of two rows is only as sure as the test videos are many; to say how sure, each row keeps which of them it
// got right.
using System.Security.Cryptography;
using System.Text;

namespace CoCLR.Core.Results;

/// <summary>Which test videos a measure got right, in the order of their ids.</summary>
public sealed record VideoHits
{
    /// <summary>Hash of the ids: rows with the same one can be compared video by video.</summary>
    public required string Videos { get; init; }

    /// <summary>One character a video: 1 where it was right, 0 where not.</summary>
    public required string Right { get; init; }

    /// <summary>Source group of each video, numbered by appearance; null where unknown.</summary>
    public int[]? Groups { get; init; }

    /// <summary>Gathers the hits of a measure.</summary>
    /// <param name="videos">Id, source group (or null) and whether the measure was right, in any order.</param>
    /// <returns>Null without videos.</returns>
    public static VideoHits? Of(IEnumerable<(string Id, string? Group, bool Right)> videos)
    {
        (string Id, string? Group, bool Right)[] sorted = [.. videos.OrderBy(v => v.Id, StringComparer.Ordinal)];
        if (sorted.Length == 0)
        {
            return null;
        }

        var numbers = new Dictionary<string, int>(StringComparer.Ordinal);
        return new VideoHits
        {
            Videos = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', sorted.Select(v => v.Id)))))[..16],
            Right = string.Concat(sorted.Select(v => v.Right ? '1' : '0')),
            Groups = Array.Exists(sorted, v => v.Group is null)
                ? null
                : [.. sorted.Select(v => numbers.TryGetValue(v.Group!, out int n) ? n : numbers[v.Group!] = numbers.Count)],
        };
    }
}
