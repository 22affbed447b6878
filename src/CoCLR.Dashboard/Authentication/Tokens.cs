// Why this exists: secrets are made, kept as hashes and compared in constant time in one place.
using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Storage;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Authentication;

/// <summary>Secrets of the dashboard.</summary>
public sealed class Tokens
{
    private const string Prefix = "coclr_";
    private readonly SettingsFile _settings;
    private readonly TimeProvider _clock;
    private readonly string _ingestKey;

    /// <summary>Reads or makes the secrets.</summary>
    public Tokens(IOptions<DashboardOptions> options, SettingsFile settings, TimeProvider clock)
    {
        ArgumentNullException.ThrowIfNull(options);
        (_settings, _clock) = (settings, clock);
        Browser = options.Value.Authentication.Token.Length > 0 ? options.Value.Authentication.Token : Random();
        _ingestKey = options.Value.Ingest.Key.Length > 0
            ? options.Value.Ingest.Key
            : Kept(Path.Combine(options.Value.ResolvedDataDir, "ingest.key"));
    }

    /// <summary>The token of the link or of the configuration.</summary>
    public string Browser { get; }

    /// <summary>A random secret of 192 bits.</summary>
    public static string Random() => Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(24));

    /// <summary>Compares in constant time.</summary>
    /// <param name="given">What came.</param>
    /// <param name="secret">What it must be.</param>
    public static bool Equal(string? given, string secret) =>
        CryptographicOperations.FixedTimeEquals(
            SHA256.HashData(Encoding.UTF8.GetBytes(given ?? "")), SHA256.HashData(Encoding.UTF8.GetBytes(secret)));

    /// <summary>Makes the ingest token of a run.</summary>
    /// <param name="run">Id.</param>
    /// <param name="lifetime">How long it is valid.</param>
    /// <param name="space">Namespace to which the run then belongs, or null.</param>
    public string ForRun(string run, TimeSpan lifetime, string? space = null) =>
        IngestToken.Create(_ingestKey, run, _clock.GetUtcNow() + lifetime, space);

    /// <summary>The run that an ingest token may write, with its namespace; or null.</summary>
    /// <param name="token">The token.</param>
    public (string Run, string? Namespace)? RunOf(string token) => IngestToken.Read(_ingestKey, token, _clock.GetUtcNow());

    /// <summary>Makes an API token; the secret is shown this once.</summary>
    /// <param name="name">What it is for.</param>
    /// <param name="role">Role.</param>
    /// <param name="namespaces">Namespaces; all when empty.</param>
    /// <param name="expires">When it ends, or null.</param>
    public (ApiToken Token, string Secret) CreateApi(string name, string role, IEnumerable<string> namespaces, DateTimeOffset? expires)
    {
        if (!Roles.All.Contains(role))
        {
            throw new UserErrorException($"There is no role '{role}': use one of {string.Join(", ", Roles.All)}.", ExitCodes.Usage);
        }

        string id = Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(6)).Replace('_', 'x').Replace('-', 'y');
        string secret = Random();
        var token = new ApiToken(id, name, Hash(secret), role, [.. namespaces], _clock.GetUtcNow(), expires);
        _settings.Change(s => s with { Tokens = s.Tokens.Add(token) });
        return (token, $"{Prefix}{id}_{secret}");
    }

    /// <summary>Ends an API token.</summary>
    /// <param name="id">Its public part.</param>
    public bool Revoke(string id)
    {
        if (_settings.Current.Tokens.All(t => t.Id != id))
        {
            return false;
        }

        _settings.Change(s => s with { Tokens = s.Tokens.RemoveAll(t => t.Id == id) });
        return true;
    }

    /// <summary>The API token that a secret belongs to, or null.</summary>
    /// <param name="given">What came.</param>
    public ApiToken? FindApi(string given)
    {
        ArgumentNullException.ThrowIfNull(given);
        string[] parts = given.Split('_', 3);
        if (parts.Length != 3 || parts[0] + "_" != Prefix)
        {
            return null;
        }

        ApiToken? token = _settings.Current.Tokens.FirstOrDefault(t => t.Id == parts[1]);
        return token != null
            && CryptographicOperations.FixedTimeEquals(Encoding.ASCII.GetBytes(Hash(parts[2])), Encoding.ASCII.GetBytes(token.Hash))
            && (token.Expires is not { } end || _clock.GetUtcNow() < end) ? token : null;
    }

    private static string Hash(string secret) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(secret)));

    private static string Kept(string path)
    {
        if (File.Exists(path) && File.ReadAllText(path).Trim() is { Length: >= DashboardOptionsValidator.SecretLength } known)
        {
            return known;
        }

        string secret = Random();
        var mode = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            mode.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        using var stream = new FileStream(path, mode);
        stream.Write(Encoding.ASCII.GetBytes(secret));
        return secret;
    }
}
