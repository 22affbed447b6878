// Why this exists: pages and scripts do the same things with runs, on this machine or in a cluster: here it is decided where, checked who
// may, and written down who did.
using System.Security.Claims;
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Storage;

namespace CoCLR.Dashboard.Hosting;

/// <summary>What was started.</summary>
/// <param name="Run">Id of the run on this machine; null in a cluster, where the operator names it.</param>
/// <param name="Name">Name of the experiment.</param>
/// <param name="Namespace">Its namespace in a cluster.</param>
internal sealed record StartedRun(string? Run, string Name, string? Namespace);

/// <summary>Starts, stops, continues and deletes runs for a person.</summary>
internal sealed class RunControl(LocalHost host, AuditLog audit, IServiceProvider services)
{
    private readonly ClusterHost? _cluster = services.GetService<ClusterHost>();

    /// <summary>Starts an experiment.</summary>
    /// <param name="user">The person.</param>
    /// <param name="manifest">A manifest that was read without problems.</param>
    /// <param name="text">Its text.</param>
    /// <param name="space">Namespace in a cluster; the person's first where null.</param>
    /// <param name="cancel">Stops waiting.</param>
    /// <exception cref="UserErrorException">The person may not, or it cannot be started.</exception>
    public async Task<StartedRun> StartAsync(
        ClaimsPrincipal user, Manifest<ExperimentSpec> manifest, string text, string? space, CancellationToken cancel)
    {
        string name = manifest.Metadata.Name;
        string run = _cluster is null ? Planner.Plan(name, manifest.Spec).Run : "";
        string target = space ?? _cluster?.NamespacesOf(user)[0] ?? "";
        await DoAsync(user, "start", _cluster is null ? run : $"{target}/{name}", async () =>
        {
            if (_cluster is not null)
            {
                await _cluster.ApplyAsync(user, target, text, cancel);
            }
            else
            {
                host.Start(run, text);
            }
        });
        return _cluster is null ? new StartedRun(run, name, null) : new StartedRun(null, name, target);
    }

    /// <summary>Stops a run after a checkpoint.</summary>
    public Task StopAsync(ClaimsPrincipal user, RunInfo run, CancellationToken cancel) =>
        OnAsync(user, "stop", run, () => host.Stop(run), (cluster, resource) => cluster.SuspendAsync(user, resource, true, cancel));

    /// <summary>Continues a run that was stopped, failed or was lost.</summary>
    public Task ResumeAsync(ClaimsPrincipal user, RunInfo run, CancellationToken cancel) =>
        OnAsync(user, "resume", run, () => host.Resume(run), (cluster, resource) =>
        resource.Suspend ? cluster.SuspendAsync(user, resource, false, cancel) : cluster.RetryAsync(user, resource, cancel));

    /// <summary>Deletes a run with its folder, or the resource of a cluster.</summary>
    public Task DeleteAsync(ClaimsPrincipal user, RunInfo run, CancellationToken cancel) =>
        OnAsync(user, "delete", run, () => host.Delete(run), (cluster, resource) => cluster.DeleteAsync(user, resource, cancel));

    private Task OnAsync(ClaimsPrincipal user, string action, RunInfo run, Action here, Func<ClusterHost, ClusterRef, Task> inCluster) =>
        DoAsync(user, action, run.Run, () =>
    {
        if (!user.MaySee(run))
        {
            throw new UserErrorException($"There is no run '{run.Run}', or you may not see it.", ExitCodes.Usage);
        }

        if (run.Cluster is { } resource && _cluster is { } cluster)
        {
            return inCluster(cluster, resource);
        }

        here();
        return Task.CompletedTask;
    });

    private async Task DoAsync(ClaimsPrincipal user, string action, string target, Func<Task> act)
    {
        try
        {
            if (!user.MayEdit())
            {
                throw new UserErrorException("Your role may look, but not act: ask an admin of this dashboard.", ExitCodes.Usage);
            }

            await act();
        }
        catch (UserErrorException e)
        {
            audit.Add(user, action, target, e.Message);
            throw;
        }

        audit.Add(user, action, target);
    }
}
