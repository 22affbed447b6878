// Why this exists: asks, and gives back what was written.
using Microsoft.AspNetCore.Components;
using MudBlazor;

namespace CoCLR.Dashboard.Components.Dialogs;

/// <summary>Asks for one line or a note.</summary>
public sealed partial class TextDialog
{
    private string _text = "";

    [CascadingParameter]
    private IMudDialogInstance? Dialog { get; set; }

    [Parameter]
    public string Label { get; set; } = "";

    [Parameter]
    public string Initial { get; set; } = "";

    /// <summary>Several lines.</summary>
    [Parameter]
    public bool Long { get; set; }

    /// <summary>Asks.</summary>
    /// <returns>The text, or null when it was cancelled.</returns>
    public static async Task<string?> AskAsync(IDialogService dialogs, string title, string label, string initial, bool multiLine = false)
    {
        ArgumentNullException.ThrowIfNull(dialogs);
        IDialogReference dialog = await dialogs.ShowAsync<TextDialog>(title,
            new DialogParameters<TextDialog> { { d => d.Label, label }, { d => d.Initial, initial }, { d => d.Long, multiLine } },
            new DialogOptions { FullWidth = true, MaxWidth = MaxWidth.Small, CloseOnEscapeKey = true });
        return await dialog.Result is { Canceled: false, Data: string text } ? text.Trim() : null;
    }

    /// <inheritdoc/>
    protected override void OnInitialized() => _text = Initial;

    private void Done() => Dialog?.Close(DialogResult.Ok(_text));
}
