// Why this exists: a training process may write the events of its own run and nothing else; operator, command line and dashboard derive its
// token from one shared key.
using System.Buffers.Text;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace CoCLR.Core.Events;

/// <summary>
/// Tokens that allow sending the events of one run, signed with HMAC-SHA-256: <c>ci1.RUN.EXPIRY.SIGNATURE</c>, or
/// <c>ci2.RUN.NAMESPACE.EXPIRY.SIGNATURE</c> for a run that belongs to a namespace: what may be said of it is in the token, never beside
/// it.
/// </summary>
public static class IngestToken
{
    private const string Plain = "ci1", InNamespace = "ci2";

    /// <summary>Makes the token of a run.</summary>
    /// <param name="key">The shared key.</param>
    /// <param name="run">Id of the run.</param>
    /// <param name="expires">When it ends.</param>
    /// <param name="space">Namespace to which the run belongs; null for none.</param>
    public static string Create(string key, string run, DateTimeOffset expires, string? space = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(key);
        ArgumentException.ThrowIfNullOrEmpty(run);
        string seconds = expires.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);
        string said = space is null ? $"{Plain}.{Encode(run)}.{seconds}" : $"{InNamespace}.{Encode(run)}.{Encode(space)}.{seconds}";
        return $"{said}.{Sign(key, space is null ? [Plain, run, seconds] : [InNamespace, run, space, seconds])}";
    }

    /// <summary>Reads a token.</summary>
    /// <param name="key">The shared key.</param>
    /// <param name="token">The token.</param>
    /// <param name="now">The time.</param>
    /// <returns>The run that it allows, with its namespace, or null when it is not valid (any more).</returns>
    public static (string Run, string? Namespace)? Read(string key, string? token, DateTimeOffset now)
    {
        ArgumentException.ThrowIfNullOrEmpty(key);
        string[] parts = token?.Length <= 1024 ? token.Split('.') : [];
        bool spaced = parts is [InNamespace, _, _, _, _];
        if (!(spaced || parts is [Plain, _, _, _])
            || !long.TryParse(parts[^2], NumberStyles.None, CultureInfo.InvariantCulture, out long seconds)
            || !Base64Url.IsValid(parts[1]) || !Base64Url.IsValid(parts[^3]))
        {
            return null;
        }

        string run = Decode(parts[1]);
        string? space = spaced ? Decode(parts[2]) : null;
        string signature = Sign(key, spaced ? [InNamespace, run, space!, parts[^2]] : [Plain, run, parts[^2]]);
        bool signed = CryptographicOperations.FixedTimeEquals(Encoding.ASCII.GetBytes(signature), Encoding.UTF8.GetBytes(parts[^1]));
        return signed && now.ToUnixTimeSeconds() < seconds ? (run, space) : null;
    }

    private static string Encode(string text) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(text));

    private static string Decode(string text) => Encoding.UTF8.GetString(Base64Url.DecodeFromChars(text));

    private static string Sign(string key, string[] parts) =>
        Base64Url.EncodeToString(HMACSHA256.HashData(Encoding.UTF8.GetBytes(key), Encoding.UTF8.GetBytes(string.Join('\n', parts))));
}
