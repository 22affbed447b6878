// Why this exists: what a choice offers, in words.
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>A choice.</summary>
public sealed partial class Pick
{
    /// <summary>What is chosen.</summary>
    [Parameter, EditorRequired]
    public string Label { get; set; } = "";

    /// <summary>The key chosen; empty for the first of <see cref="Options"/> where that has an empty key.</summary>
    [Parameter, EditorRequired]
    public string? Value { get; set; }

    /// <summary>Keys and their words.</summary>
    [Parameter, EditorRequired]
    public IEnumerable<(string Key, string Name)> Options { get; set; } = [];

    /// <summary>Another key was chosen.</summary>
    [Parameter]
    public EventCallback<string> Changed { get; set; }

    [Parameter]
    public bool Disabled { get; set; }

    /// <summary>More classes, such as a width.</summary>
    [Parameter]
    public string? Class { get; set; }

    /// <summary>Options whose words are their keys, after one that stands for none of them.</summary>
    /// <param name="none">Words of the empty key.</param>
    /// <param name="keys">The others.</param>
    public static IEnumerable<(string Key, string Name)> OrNone(string none, IEnumerable<string> keys) =>
        [("", none), .. keys.Select(k => (k, k))];

    private string? Name(string? key) => Options.FirstOrDefault(o => o.Key == (key ?? "")).Name ?? key;
}
