// Why this exists: one caller that asks too much must not slow the others.
using System.Globalization;
using System.Security.Claims;
using System.Threading.RateLimiting;
using Microsoft.AspNetCore.RateLimiting;

namespace CoCLR.Dashboard.Configuration;

/// <summary>Named limits.</summary>
internal static class RateLimits
{
    /// <summary>Reads and writes of people and scripts.</summary>
    public const string Api = "api";

    /// <summary>Batches of events.</summary>
    public const string Ingest = "ingest";

    /// <summary>Attempts to sign in.</summary>
    public const string SignIn = "sign-in";

    public static void Add(RateLimiterOptions limiter, DashboardOptions options)
    {
        limiter.RejectionStatusCode = StatusCodes.Status429TooManyRequests;
        limiter.OnRejected = (context, _) =>
        {
            if (context.Lease.TryGetMetadata(MetadataName.RetryAfter, out TimeSpan after))
            {
                context.HttpContext.Response.Headers.RetryAfter = Math.Max(1, (int)Math.Ceiling(after.TotalSeconds))
                    .ToString(CultureInfo.InvariantCulture);
            }

            return ValueTask.CompletedTask;
        };
        limiter.AddPolicy(Api, context => RateLimitPartition.GetTokenBucketLimiter(Caller(context), _ => new TokenBucketRateLimiterOptions
        {
            TokenLimit = Math.Max(1, options.Limits.RequestsPerMinute / 4),
            TokensPerPeriod = Math.Max(1, options.Limits.RequestsPerMinute / 60),
            ReplenishmentPeriod = TimeSpan.FromSeconds(1),
        }));
        limiter.AddPolicy(Ingest, context => RateLimitPartition.GetTokenBucketLimiter(context.User.FindFirstValue(Policies.RunClaim) ?? "", _ => new TokenBucketRateLimiterOptions
        {
            TokenLimit = options.Ingest.BatchesPerSecond,
            TokensPerPeriod = options.Ingest.BatchesPerSecond,
            ReplenishmentPeriod = TimeSpan.FromSeconds(1),
        }));
        limiter.AddPolicy(
            SignIn,
            context => RateLimitPartition.GetFixedWindowLimiter(
                context.Connection.RemoteIpAddress?.ToString() ?? "",
                _ => new FixedWindowRateLimiterOptions { PermitLimit = 20, Window = TimeSpan.FromMinutes(1) }));
    }

    private static string Caller(HttpContext context) => context.User.FindFirstValue(Policies.TokenClaim) ?? context.User.Identity?.Name
        ?? context.Connection.RemoteIpAddress?.ToString() ?? "";
}
