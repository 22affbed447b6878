// Why this exists: makes the address of the package; the browser fetches it and shows how far it is.
using CoCLR.Dashboard.Formatting;
using Microsoft.AspNetCore.Components;
using MudBlazor;

namespace CoCLR.Dashboard.Components.Dialogs;

/// <summary>Asks what a model package is to hold.</summary>
public sealed partial class PackageDialog
{
    private string _stage = "";
    private string _license = "";
    private string _data = "";

    [CascadingParameter]
    private IMudDialogInstance? Dialog { get; set; }

    /// <summary>Id of the run.</summary>
    [Parameter]
    public string Run { get; set; } = "";

    /// <summary>Checkpoints to choose from; the first is the usual one.</summary>
    [Parameter]
    public IReadOnlyList<string> Stages { get; set; } = [];

    private string Link => Links.Package(Run, _stage, _license, _data);

    /// <summary>Shows the dialog.</summary>
    public static Task ShowAsync(IDialogService dialogs, string run, IReadOnlyList<string> stages)
    {
        ArgumentNullException.ThrowIfNull(dialogs);
        return dialogs.ShowAsync<PackageDialog>("Model package",
            new DialogParameters<PackageDialog> { { d => d.Run, run }, { d => d.Stages, stages } },
            new DialogOptions { FullWidth = true, MaxWidth = MaxWidth.Small, CloseOnEscapeKey = true });
    }

    private void Choose(string stage) => _stage = stage;

    /// <inheritdoc/>
    protected override void OnInitialized() => _stage = Stages.Count > 0 ? Stages[0] : "";
}
