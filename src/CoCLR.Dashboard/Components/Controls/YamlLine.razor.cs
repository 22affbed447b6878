// Why this exists: tells key, value and comment apart.
using System.Globalization;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>One line of YAML.</summary>
public sealed partial class YamlLine
{
    private string _indent = "";
    private string _key = "";
    private string _value = "";
    private string _class = "";

    [Parameter, EditorRequired]
    public string Line { get; set; } = "";

    /// <inheritdoc/>
    protected override void OnParametersSet()
    {
        int start = Line.Length - Line.TrimStart(' ', '-').Length;
        _indent = Line[..start];
        string rest = Line[start..];
        int colon = rest.StartsWith('#') ? -1 : rest.IndexOf(':', StringComparison.Ordinal);
        bool key = colon > 0 && (colon + 1 == rest.Length || rest[colon + 1] == ' ');
        _key = key ? rest[..colon] : "";
        _value = key ? rest[(colon + 1)..].Trim() : rest;
        _class = rest.StartsWith('#') ? "c" : double.TryParse(_value.Trim('\'', '"'), CultureInfo.InvariantCulture, out _)
            || _value is "true" or "false" ? "n" : "s";
    }
}
