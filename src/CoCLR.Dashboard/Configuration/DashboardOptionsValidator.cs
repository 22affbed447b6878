// Why this exists: a dashboard that would be open to the network, or that cannot work, refuses to start and says which setting fixes it.
using System.Net;
using CoCLR.Core;

namespace CoCLR.Dashboard.Configuration;

/// <summary>Checks settings that types cannot check.</summary>
public static class DashboardOptionsValidator
{
    /// <summary>Fewest characters of a configured secret: 128 bits in base64url.</summary>
    public const int SecretLength = 22;

    /// <summary>Checks the settings against the addresses that will be listened on.</summary>
    /// <param name="options">The settings.</param>
    /// <param name="urls">Addresses such as <c>http://127.0.0.1:5180</c>.</param>
    /// <returns>The way of signing in.</returns>
    /// <exception cref="UserErrorException">A setting is wrong or missing (exit 78).</exception>
    public static AuthenticationMode Validate(DashboardOptions options, IEnumerable<string> urls)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(urls);
        if (!Directory.Exists(options.ResolvedWorkDir))
        {
            throw Wrong($"the folder {options.ResolvedWorkDir} (Dashboard:WorkDir, --workdir) does not exist: create it or name another");
        }

        string[] open = [.. urls.Where(u => !IsLoopback(u))];
        AuthenticationSettings authentication = options.Authentication;
        AuthenticationMode mode = authentication.Mode
            ?? (authentication.Oidc.Authority.Length > 0 ? AuthenticationMode.OpenIdConnect
                : open.Length > 0 && authentication.Token.Length > 0 ? AuthenticationMode.Token
                : AuthenticationMode.BrowserToken);
        if (open.Length > 0 && mode is (AuthenticationMode.BrowserToken or AuthenticationMode.Unsecured))
        {
            throw Wrong($"{string.Join(", ", open)} can be reached from other machines, where a sign-in is required: set "
                + $"Dashboard:Authentication:Oidc:Authority and ClientId, or Dashboard:Authentication:Mode=Token with "
                    + $"Dashboard:Authentication:Token, or listen on 127.0.0.1");
        }

        if (mode == AuthenticationMode.Token && authentication.Token.Length == 0)
        {
            throw Wrong("Dashboard:Authentication:Mode is Token, but Dashboard:Authentication:Token is empty: set it to a random secret, "
                + "for example from `openssl rand -base64 24`");
        }

        if (authentication.Token.Length is > 0 and < SecretLength)
        {
            throw Wrong($"Dashboard:Authentication:Token has {authentication.Token.Length} characters, which can be guessed: use at least "
                + $"{SecretLength}, for example from `openssl rand -base64 24`");
        }

        if (options.Ingest.Key.Length is > 0 and < SecretLength)
        {
            throw Wrong(
                $"Dashboard:Ingest:Key has {options.Ingest.Key.Length} characters, which can be guessed: use at least {SecretLength}");
        }

        if (mode == AuthenticationMode.OpenIdConnect
            && (authentication.Oidc.Authority.Length == 0 || authentication.Oidc.ClientId.Length == 0))
        {
            throw Wrong("OpenID Connect needs Dashboard:Authentication:Oidc:Authority and Dashboard:Authentication:Oidc:ClientId");
        }

        CheckNetwork(options);
        CheckLimits(options);
        return mode;
    }

    private static void CheckNetwork(DashboardOptions options)
    {
        if (options.TrustedProxies.FirstOrDefault(n => !System.Net.IPNetwork.TryParse(n, out _)) is { } network)
        {
            throw Wrong($"Dashboard:TrustedProxies has '{network}': use networks such as 10.0.0.0/8");
        }

        CheckWebhooks(options.Webhooks);
        string role = options.Authentication.TokenRole;
        if (!Roles.All.Contains(role))
        {
            throw Wrong($"Dashboard:Authentication:TokenRole is '{role}': use one of {string.Join(", ", Roles.All)}");
        }

        if (options.PathBase.Length > 0 && (options.PathBase[0] != '/' || options.PathBase[^1] == '/'))
        {
            throw Wrong(
                $"Dashboard:PathBase is '{options.PathBase}': it starts with a slash and does not end with one, for example /coclr");
        }
    }

    private static void CheckLimits(DashboardOptions options)
    {
        foreach ((string name, long value) in new (string, long)[]
        {
            ("Limits:Runs", options.Limits.Runs), ("Limits:PointsPerSeries", options.Limits.PointsPerSeries),
            ("Limits:MetricNames", options.Limits.MetricNames),
            ("Limits:LogLines", options.Limits.LogLines), ("Limits:LogLineLength", options.Limits.LogLineLength),
            ("Limits:PointsPerRead", options.Limits.PointsPerRead),
            ("Ingest:MaxBodyBytes", options.Ingest.MaxBodyBytes), ("Ingest:MaxArtifactBytes", options.Ingest.MaxArtifactBytes),
        })
        {
            if (value <= 0)
            {
                throw Wrong($"Dashboard:{name} is {value}: it must be positive");
            }
        }
    }

    private static void CheckWebhooks(WebhookSettings webhooks)
    {
        for (int i = 0; i < webhooks.Targets.Length; i++)
        {
            WebhookTarget target = webhooks.Targets[i];
            string name = $"Dashboard:Webhooks:Targets:{i}";
            if (!Uri.TryCreate(target.Url, UriKind.Absolute, out Uri? url)
                || !(url.Scheme == Uri.UriSchemeHttps || (url.Scheme == Uri.UriSchemeHttp && webhooks.AllowPrivateAddresses)))
            {
                throw Wrong($"{name}:Url is not an https address (http needs Dashboard:Webhooks:AllowPrivateAddresses)");
            }

            bool allowed = webhooks.AllowedHosts.Any(h => h.StartsWith("*.", StringComparison.Ordinal)
                ? url.Host.EndsWith(h[1..], StringComparison.OrdinalIgnoreCase)
                : h.Equals(url.Host, StringComparison.OrdinalIgnoreCase));
            if (!allowed)
            {
                throw Wrong($"{name}:Url names the host {url.Host}, which Dashboard:Webhooks:AllowedHosts does not have");
            }

            if (target.Secret.Length < SecretLength && (target.Secret.Length > 0 || target.Format != WebhookFormat.Slack))
            {
                throw Wrong($"{name}:Secret has {target.Secret.Length} characters: use at least {SecretLength}, for example from `openssl "
                    + $"rand -base64 24`");
            }

            if (target.Events.FirstOrDefault(e => !WebhookTarget.KnownEvents.Contains(e)) is { } unknown)
            {
                throw Wrong($"{name}:Events has '{unknown}': use {string.Join(", ", WebhookTarget.KnownEvents)}");
            }
        }
    }

    /// <summary>Whether only this machine can reach an address.</summary>
    /// <param name="url">An address such as <c>http://127.0.0.1:5180</c>.</param>
    public static bool IsLoopback(string url)
    {
        if (!Uri.TryCreate(url.Replace("://*", "://0.0.0.0", StringComparison.Ordinal).Replace("://+", "://0.0.0.0", StringComparison.Ordinal), UriKind.Absolute, out Uri? uri))
        {
            return false;
        }

        return uri.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase)
            || (IPAddress.TryParse(uri.Host.Trim('[', ']'), out IPAddress? address) && IPAddress.IsLoopback(address));
    }

    private static UserErrorException Wrong(string message) => new($"The dashboard cannot start: {message}.", ExitCodes.BadConfiguration);
}
