// Why this exists: each open page costs memory; beyond a limit new ones are refused with words, and those that are open stay well.
using System.Globalization;
using CoCLR.Dashboard.Configuration;
using Microsoft.AspNetCore.Components.Server.Circuits;
using Microsoft.Extensions.Options;

namespace CoCLR.Dashboard.Api;

/// <summary>Counts open pages.</summary>
internal sealed class CircuitLimit(IOptions<DashboardOptions> options) : CircuitHandler
{
    private int _open;

    /// <summary>Pages that are connected now.</summary>
    public int Open => Volatile.Read(ref _open);

    /// <summary>Whether there is room for no more.</summary>
    public bool IsFull => Open >= options.Value.Limits.Circuits;

    /// <inheritdoc/>
    public override Task OnConnectionUpAsync(Circuit circuit, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _open);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public override Task OnConnectionDownAsync(Circuit circuit, CancellationToken cancellationToken)
    {
        Interlocked.Decrement(ref _open);
        return Task.CompletedTask;
    }

    /// <summary>Refuses new pages and their connections while there is no room.</summary>
    public async Task GuardAsync(HttpContext context, RequestDelegate next, Func<HttpContext, bool> isPage)
    {
        if (IsFull && (context.Request.Path.StartsWithSegments("/_blazor/negotiate", StringComparison.OrdinalIgnoreCase) || (isPage(context) && context.GetEndpoint()?.Metadata.GetMetadata<Microsoft.AspNetCore.Components.Endpoints.ComponentTypeMetadata>() != null)))
        {
            context.Response.StatusCode = StatusCodes.Status503ServiceUnavailable;
            context.Response.Headers.RetryAfter = "15";
            context.Response.ContentType = "text/plain; charset=utf-8";
            await context.Response.WriteAsync(
                string.Create(CultureInfo.InvariantCulture, $"{Open} pages of this dashboard are open, which is its limit "
                    + $"(Dashboard:Limits:Circuits). Close one you do not need, or try again in a moment."),
                context.RequestAborted);
            return;
        }

        await next(context);
    }
}
