// Why this exists: one server for the tests of a class that do not disturb one another.
namespace CoCLR.Dashboard.Tests.Fixtures;

/// <summary>A server for a class of tests.</summary>
public sealed class ServerFixture : IAsyncLifetime
{
    /// <summary>The server.</summary>
    public DashboardServer Server { get; private set; } = null!;

    /// <inheritdoc/>
    public async ValueTask InitializeAsync() => Server = await DashboardServer.StartAsync();

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => Server.DisposeAsync();
}
