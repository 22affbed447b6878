// Why this exists: listens to what the cluster says of one experiment.
using CoCLR.Dashboard.Cluster;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>What the cluster says about an experiment, its Jobs and its pods.</summary>
public sealed partial class ClusterEvents : IDisposable
{
    private ClusterRef? _resource;
    private IReadOnlyList<ClusterEvent> _events = [];
    private Subscription? _changes;

    [Inject]
    private IServiceProvider Services { get; set; } = null!;

    [Inject]
    private LiveFeed Feed { get; set; } = null!;

    [Parameter, EditorRequired]
    public RunInfo Info { get; set; } = null!;

    [Parameter]
    public DateTimeOffset Now { get; set; }

    /// <inheritdoc/>
    public void Dispose() => _changes?.Dispose();

    /// <inheritdoc/>
    protected override void OnInitialized()
    {
        if (Services.GetService<ClusterWatch>() != null)
        {
            _changes = Feed.Listen(LiveFeed.Cluster, TimeSpan.FromSeconds(1), () => InvokeAsync(() =>
            {
                OnParametersSet();
                StateHasChanged();
            }));
        }
    }

    /// <inheritdoc/>
    protected override void OnParametersSet()
    {
        ClusterWatch? watch = Services.GetService<ClusterWatch>();
        _resource = watch is null ? null : Info.Cluster;
        _events = _resource is null ? [] : watch!.EventsOf(_resource.Namespace, _resource.Name);
    }
}
