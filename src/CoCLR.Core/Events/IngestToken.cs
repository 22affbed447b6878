// Why this exists: a training process may write the events of its own run and nothing else; operator, command line and dashboard derive its token from one shared key.
using System.Buffers.Text;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace CoCLR.Core.Events;

/// <summary>Tokens that allow sending the events of one run: <c>ci1.RUN.EXPIRY.SIGNATURE</c>, signed with HMAC-SHA-256.</summary>
public static class IngestToken
{
    private const string Version = "ci1";

    /// <summary>Makes the token of a run.</summary>
    /// <param name="key">The shared key.</param>
    /// <param name="run">Id of the run.</param>
    /// <param name="expires">When it ends.</param>
    public static string Create(string key, string run, DateTimeOffset expires)
    {
        ArgumentException.ThrowIfNullOrEmpty(key);
        ArgumentException.ThrowIfNullOrEmpty(run);
        string seconds = expires.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);
        return $"{Version}.{Base64Url.EncodeToString(Encoding.UTF8.GetBytes(run))}.{seconds}.{Sign(key, run, seconds)}";
    }

    /// <summary>Reads a token.</summary>
    /// <param name="key">The shared key.</param>
    /// <param name="token">The token.</param>
    /// <param name="now">The time.</param>
    /// <returns>The run that it allows, or null when it is not valid (any more).</returns>
    public static string? Run(string key, string? token, DateTimeOffset now)
    {
        ArgumentException.ThrowIfNullOrEmpty(key);
        string[] parts = token?.Length <= 1024 ? token.Split('.') : [];
        if (parts.Length != 4 || parts[0] != Version || !long.TryParse(parts[2], NumberStyles.None, CultureInfo.InvariantCulture, out long seconds) || !Base64Url.IsValid(parts[1]))
        {
            return null;
        }

        string run = Encoding.UTF8.GetString(Base64Url.DecodeFromChars(parts[1]));
        bool signed = CryptographicOperations.FixedTimeEquals(Encoding.ASCII.GetBytes(Sign(key, run, parts[2])), Encoding.UTF8.GetBytes(parts[3]));
        return signed && now.ToUnixTimeSeconds() < seconds ? run : null;
    }

    private static string Sign(string key, string run, string seconds) =>
        Base64Url.EncodeToString(HMACSHA256.HashData(Encoding.UTF8.GetBytes(key), Encoding.UTF8.GetBytes($"{Version}\n{run}\n{seconds}")));
}
