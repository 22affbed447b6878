// Why this exists: writes a term of the filter as the filter reads it.
using CoCLR.Dashboard.Api;
using Microsoft.AspNetCore.Components;
using MudBlazor;

namespace CoCLR.Dashboard.Components.Dialogs;

/// <summary>Writes a term of a filter.</summary>
public sealed partial class FilterDialog
{
    private static readonly (string Key, string Name)[] Signs =
    [
        ("=", "is"), ("!=", "is not"), (":", "contains"), (">", "is more than"), (">=", "is at least"), ("<", "is less than"), ("<=", "is at most"),
    ];

    private FieldName? _field;
    private string _sign = "=";
    private string _value = "";

    [CascadingParameter]
    private IMudDialogInstance? Dialog { get; set; }

    /// <summary>Fields to choose from.</summary>
    [Parameter]
    public IReadOnlyList<FieldName> Offered { get; set; } = [];

    /// <summary>Values that runs have in a field.</summary>
    [Parameter]
    public Func<string, IEnumerable<string>> Values { get; set; } = _ => [];

    private string Term => _field is null || _value.Trim() is not { Length: > 0 } value ? "" : _field.Name + _sign + Quoted(value);

    /// <summary>Asks.</summary>
    /// <returns>A term of the filter, or null when it was cancelled.</returns>
    public static async Task<string?> AskAsync(
        IDialogService dialogs, IReadOnlyList<FieldName> offered, Func<string, IEnumerable<string>> values)
    {
        ArgumentNullException.ThrowIfNull(dialogs);
        IDialogReference dialog = await dialogs.ShowAsync<FilterDialog>("Add a filter",
            new DialogParameters<FilterDialog> { { d => d.Offered, offered }, { d => d.Values, values } },
            new DialogOptions { FullWidth = true, MaxWidth = MaxWidth.ExtraSmall, CloseOnEscapeKey = true });
        return await dialog.Result is { Canceled: false, Data: string term } ? term : null;
    }

    // Blanks and parentheses end a word unless it is quoted; there is no sign for a quotation mark within.
    private static string Quoted(string value) => value.Any(c => char.IsWhiteSpace(c) || c is '(' or ')')
        ? $"\"{value.Replace("\"", "", StringComparison.Ordinal)}\"" : value;

    private static string? NameOf(string? sign) => Signs.FirstOrDefault(s => s.Key == sign).Name;

    private void Compare(string sign) => _sign = sign;

    private void Choose(FieldName? field)
    {
        _field = field;
        _value = "";
    }

    private Task<IEnumerable<FieldName>> FindAsync(string? text, CancellationToken cancel) => Task.FromResult(
        Offered.Where(f => f.Name.Contains(text ?? "", StringComparison.OrdinalIgnoreCase)));

    private Task<IEnumerable<string>> ValuesAsync(string? text, CancellationToken cancel) => Task.FromResult(
        _field is null ? [] : Values(_field.Name).Where(v => v.Contains(text ?? "", StringComparison.OrdinalIgnoreCase)));
}
