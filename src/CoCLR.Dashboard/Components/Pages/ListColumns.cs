// Why this exists: any field of a manifest and any metric can be a column of the list; which ones are shown stands in its address.
using CoCLR.Dashboard.Api;
using CoCLR.Dashboard.Components.Controls;

namespace CoCLR.Dashboard.Components.Pages;

/// <summary>A column of the list.</summary>
/// <param name="Key">The field that it shows and is sorted by.</param>
/// <param name="Name">Its head.</param>
/// <param name="Css">Classes of its cells.</param>
internal sealed record ListColumn(string Key, string Name, string Css)
{
    /// <summary>Whether runs can be sorted by it.</summary>
    public bool Sorts => Key != ListColumns.Curve;

    /// <summary>Whether its name stands before its value where a run is a card.</summary>
    public bool Labels => Key is not ("state" or "progress" or ListColumns.Curve);

    /// <summary>It is one of those that the list shows unless others are asked for.</summary>
    public bool Usual => Key == "name" || ListColumns.Usual.Any(c => c.Key == Key);
}

/// <summary>The columns of the list.</summary>
internal static class ListColumns
{
    /// <summary>Key of the small curve of the loss, the only column that is no field.</summary>
    public const string Curve = "curve";

    /// <summary>Most columns beside the name.</summary>
    public const int Most = 30;

    /// <summary>What the list shows unless other columns are asked for; on small screens less.</summary>
    public static IReadOnlyList<ListColumn> Usual { get; } =
    [
        new("state", "State", "state-cell"), new("method", "Method", "hide-s"), new("stage", "Stage", "hide-m"),
        new("progress", "Progress", "progress"), new(Curve, "Loss", "hide-m"), new("loss", "Now", "num hide-s"),
        new("probe", "Probe %", "num strong"), new("recall", "R@1 %", "num strong"),
        new("device", "Device", "hide-l muted"), new("created", "Age", "num muted nowrap"),
    ];

    /// <summary>The columns of an address.</summary>
    /// <param name="asked">Their keys, separated by commas; the usual ones where empty.</param>
    public static IReadOnlyList<ListColumn> Of(string? asked) => string.IsNullOrWhiteSpace(asked) ? Usual
        : [.. asked.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Distinct().Take(Most).Select(Named)];

    /// <summary>The address of some columns; null for the usual ones.</summary>
    /// <param name="keys">Their keys.</param>
    public static string? Address(IReadOnlyList<string> keys) =>
        keys.Count == 0 || keys.SequenceEqual(Usual.Select(c => c.Key)) ? null : string.Join(',', keys);

    /// <summary>Fields that columns show and that have to exist.</summary>
    /// <param name="columns">The columns.</param>
    public static IEnumerable<string> Fields(IEnumerable<ListColumn> columns) => columns.Where(c => c.Sorts).Select(c => c.Key);

    /// <summary>A column's head in words.</summary>
    /// <param name="key">Its key.</param>
    public static string NameOf(string key) => Usual.FirstOrDefault(c => c.Key == key)?.Name
        ?? (key.Contains('/') ? CurvesTab.Title(key) : key.Split('.')[^1]);

    // Whoever asks for a column sees it on small screens, too.
    private static ListColumn Named(string key) => Usual.FirstOrDefault(c => c.Key == key) is { } usual
        ? usual with { Css = string.Join(' ', usual.Css.Split(' ').Where(c => !c.StartsWith("hide-", StringComparison.Ordinal))) }
        : new ListColumn(key, NameOf(key), RunFields.BuiltIn.Contains(key) ? "" : "num");
}
