// Why this exists: reads the report.
using CoCLR.Core.Results;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>The run's table in the form of the paper's Table 1, and how long each stage took.</summary>
public sealed partial class ResultsTab
{
    private RunReport? _report;

    [Inject]
    private RunResults Results { get; set; } = null!;

    [Parameter, EditorRequired]
    public RunInfo Info { get; set; } = null!;

    private static string Heading(string name) => char.ToUpperInvariant(name[0]) + name[1..];

    /// <inheritdoc/>
    protected override void OnParametersSet() => _report = Results.Report(Info);
}
