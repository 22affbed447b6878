// Why this exists: gives back what was chosen, in the order that was chosen.
using CoCLR.Dashboard.Api;
using Microsoft.AspNetCore.Components;
using MudBlazor;

namespace CoCLR.Dashboard.Components.Dialogs;

/// <summary>Chooses some of many and their order.</summary>
public sealed partial class ChoiceDialog
{
    private const int Most = 30;
    private List<string> _keys = [];

    /// <summary>What the field that finds more is called.</summary>
    [Parameter]
    public string Label { get; set; } = "";

    /// <summary>What is chosen now.</summary>
    [Parameter]
    public IReadOnlyList<string> Keys { get; set; } = [];

    /// <summary>What there is to choose from.</summary>
    [Parameter]
    public IReadOnlyList<FieldName> Offered { get; set; } = [];

    /// <summary>A key in words.</summary>
    [Parameter]
    public Func<string, string> NameOf { get; set; } = key => key;

    [CascadingParameter]
    private IMudDialogInstance? Dialog { get; set; }

    /// <summary>Asks.</summary>
    /// <returns>The keys, none of them for what is usual, or null when it was cancelled.</returns>
    public static async Task<IReadOnlyList<string>?> AskAsync(
        IDialogService dialogs, string title, string label, IReadOnlyList<string> keys, IReadOnlyList<FieldName> offered, Func<string, string> nameOf)
    {
        ArgumentNullException.ThrowIfNull(dialogs);
        IDialogReference dialog = await dialogs.ShowAsync<ChoiceDialog>(title,
            new DialogParameters<ChoiceDialog>
            {
                { d => d.Label, label }, { d => d.Keys, keys }, { d => d.Offered, offered }, { d => d.NameOf, nameOf },
            },
            new DialogOptions { FullWidth = true, MaxWidth = MaxWidth.Small, CloseOnEscapeKey = true });
        return await dialog.Result is { Canceled: false, Data: IReadOnlyList<string> chosen } ? chosen : null;
    }

    /// <inheritdoc/>
    protected override void OnInitialized() => _keys = [.. Keys];

    private Task<IEnumerable<FieldName>> FindAsync(string? text, CancellationToken cancel) => Task.FromResult(
        Offered.Where(f => !_keys.Contains(f.Name) && (f.Name.Contains(text ?? "", StringComparison.OrdinalIgnoreCase)
            || NameOf(f.Name).Contains(text ?? "", StringComparison.OrdinalIgnoreCase))));

    private void Add(FieldName? field)
    {
        if (field is not null && _keys.Count < Most)
        {
            _keys.Add(field.Name);
        }
    }

    private void Move(int at, int by) => (_keys[at], _keys[at + by]) = (_keys[at + by], _keys[at]);

    private void Close(IReadOnlyList<string> keys) => Dialog?.Close(DialogResult.Ok(keys));
}
