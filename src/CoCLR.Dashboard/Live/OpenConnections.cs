// Why this exists: a connection is checked when it is made and may stay open for weeks; a token that is revoked or ends must end what it
// opened.
using System.Collections.Concurrent;
using CoCLR.Dashboard.Authentication;
using Microsoft.AspNetCore.SignalR;

namespace CoCLR.Dashboard.Live;

/// <summary>Connections to the hub; those whose user is no longer allowed are closed.</summary>
internal sealed class OpenConnections(StillAllowed allowed, TimeProvider clock) : BackgroundService
{
    private readonly ConcurrentDictionary<string, HubCallerContext> _open = new(StringComparer.Ordinal);

    public void Add(HubCallerContext connection) => _open[connection.ConnectionId] = connection;

    public void Remove(HubCallerContext connection) => _open.TryRemove(connection.ConnectionId, out _);

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(StillAllowed.LookEvery, clock);
        while (await timer.WaitForNextTickAsync(stoppingToken).ConfigureAwait(false))
        {
            foreach (HubCallerContext connection in _open.Values.Where(c => !allowed.Is(c.User)))
            {
                connection.Abort();
            }
        }
    }
}
