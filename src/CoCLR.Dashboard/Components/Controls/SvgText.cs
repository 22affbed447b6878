// Why this exists: `text` is a word of Razor's own inside code blocks, so SVG text there is written by a component; its content is encoded.
using Microsoft.AspNetCore.Components;
using Microsoft.AspNetCore.Components.Rendering;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>An SVG text element.</summary>
public sealed class SvgText : ComponentBase
{
    /// <summary>Text.</summary>
    [Parameter]
    public string Text { get; set; } = "";

    /// <summary>Attributes.</summary>
    [Parameter(CaptureUnmatchedValues = true)]
    public IReadOnlyDictionary<string, object>? Attributes { get; set; }

    /// <inheritdoc/>
    protected override void BuildRenderTree(RenderTreeBuilder builder)
    {
        ArgumentNullException.ThrowIfNull(builder);
        builder.OpenElement(0, "text");
        builder.AddMultipleAttributes(1, Attributes);
        builder.AddContent(2, Text);
        builder.CloseElement();
    }
}
