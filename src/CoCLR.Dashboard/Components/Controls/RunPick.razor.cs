// Why this exists: searches the runs that may be chosen, newest first.
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>A choice of a run.</summary>
public sealed partial class RunPick
{
    private RunInfo? _value;

    /// <summary>What the run is for.</summary>
    [Parameter, EditorRequired]
    public string Label { get; set; } = "";

    /// <summary>Runs to choose from.</summary>
    [Parameter, EditorRequired]
    public IReadOnlyList<RunInfo> Runs { get; set; } = [];

    /// <summary>Id of the run chosen, or null.</summary>
    [Parameter]
    public string? Value { get; set; }

    /// <summary>Another run was chosen; null for none.</summary>
    [Parameter]
    public EventCallback<string?> Changed { get; set; }

    /// <inheritdoc/>
    protected override void OnParametersSet() => _value = Value is null ? null : Runs.FirstOrDefault(r => r.Run == Value);

    private static string? Name(RunInfo? run) =>
        run is null ? null : run.Experiment.Length == 0 ? Text.Short(run.Run) : $"{Text.Short(run.Experiment)} · {run.Method}";

    private async Task ChooseAsync(RunInfo? run)
    {
        if (run?.Run != Value)
        {
            await Changed.InvokeAsync(run?.Run);
        }
    }

    private Task<IEnumerable<RunInfo>> FindAsync(string? text, CancellationToken cancel)
    {
        string words = text == Name(_value) ? "" : text?.Trim() ?? "";
        return Task.FromResult(Runs.Where(r => r.Run.Contains(words, StringComparison.OrdinalIgnoreCase)
            || $"{r.Experiment} {r.Method}".Contains(words, StringComparison.OrdinalIgnoreCase)));
    }
}
