// Why this exists: does what can be done with a run, and says how it went.
using System.Security.Claims;
using CoCLR.Core;
using CoCLR.Dashboard.Components.Dialogs;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;
using MudBlazor;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>What can be done with a run, as far as the person may and the host can.</summary>
public sealed partial class RunActions
{
    [Inject]
    private LocalHost Host { get; set; } = null!;

    [Inject]
    private RunControl Control { get; set; } = null!;

    [Inject]
    private IDialogService Dialogs { get; set; } = null!;

    [Inject]
    private ISnackbar Snackbar { get; set; } = null!;

    [Inject]
    private NavigationManager Navigation { get; set; } = null!;

    [Inject]
    private SettingsFile Settings { get; set; } = null!;

    [Inject]
    private IServiceProvider Services { get; set; } = null!;

    [Parameter, EditorRequired]
    public RunInfo Info { get; set; } = null!;

    [Parameter, EditorRequired]
    public ClaimsPrincipal User { get; set; } = null!;

    private ClusterRef? InCluster => Services.GetService<ClusterHost>() is null ? null : Info.Cluster;

    private bool CanStop => InCluster is { } resource ? !resource.Suspend && Info.State is RunState.Running or RunState.Pending : _atWork;

    private bool CanResume => InCluster is { } resource
        ? resource.Suspend || Info.State == RunState.Failed
        : Info.State is RunState.Stopped or RunState.Failed or RunState.Pending or RunState.Lost && !Info.Remote && !_atWork;

    private bool _atWork;

    /// <inheritdoc/>
    protected override void OnParametersSet() => _atWork = InCluster is null && Info.State is not RunState.Succeeded && Host.IsAtWork(Info);

    private async Task<bool> DoAsync(Func<Task> act, string done)
    {
        try
        {
            await act();
            Snackbar.Add(done, Severity.Info);
            return true;
        }
        catch (UserErrorException e)
        {
            Snackbar.Add(e.Message, Severity.Warning);
            return false;
        }
    }

    private static bool IsTraining(string stage) =>
        stage.StartsWith("pretrain-", StringComparison.Ordinal) || stage.StartsWith("cycle-", StringComparison.Ordinal);

    private async Task PackAsync()
    {
        IReadOnlyList<string> stages = ModelPackages.Stages(Info);
        if (stages.Count == 0)
        {
            Snackbar.Add($"The checkpoints of {Info.Run} are not on this machine: export where it was trained (coclr export --package).", Severity.Warning);
            return;
        }

        await PackageDialog.ShowAsync(Dialogs, Info.Run, stages);
    }

    private async Task DeleteAsync()
    {
        string what = InCluster is { } resource
            ? $"The resource {resource.Name} in {resource.Namespace} ({Text.State(Info)}) will be deleted "
                + "with its Jobs and, unless its manifest keeps it, its volume with checkpoints and results. "
                + "What the dashboard knows of the run stays here."
            : $"{Info.Run} is {Text.State(Info).ToLowerInvariant()}. "
                + $"Its folder with checkpoints and results, {Text.Bytes(LocalHost.SizeOf(Info))}, will be deleted.";
        if (Host.IsAtWork(Info) && InCluster is null)
        {
            await Dialogs.ShowMessageBoxAsync("This run is at work",
                $"{Info.Run} is {Text.State(Info).ToLowerInvariant()}"
                + $", and a process works in its folder ({Text.Bytes(LocalHost.SizeOf(Info))}). Suspend it first.", yesText: "Keep");
            return;
        }

        if (await Dialogs.ShowMessageBoxAsync("Delete this run", $"{what} This cannot be undone.", yesText: "Delete",
            cancelText: "Keep") == true
            && await DoAsync(() => Control.DeleteAsync(User, Info, default), $"{Info.Run} is deleted.") && InCluster is null)
        {
            Navigation.NavigateTo("");
        }
    }
}
