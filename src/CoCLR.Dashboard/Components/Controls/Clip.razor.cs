// Why this exists: what a clip says of itself, to eyes and to screen readers.
using System.Globalization;
using CoCLR.Dashboard.Formatting;
using Microsoft.AspNetCore.Components;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>A clip.</summary>
public sealed partial class Clip
{
    /// <summary>Run whose preview is shown.</summary>
    [Parameter, EditorRequired]
    public string Run { get; set; } = "";

    /// <summary>Video id.</summary>
    [Parameter, EditorRequired]
    public string Id { get; set; } = "";

    /// <summary>rgb or flow.</summary>
    [Parameter]
    public string View { get; set; } = "rgb";

    [Parameter]
    public string? Class { get; set; }

    /// <summary>Whether the class is the query's; null when unknown.</summary>
    [Parameter]
    public bool? Hit { get; set; }

    [Parameter]
    public int? Rank { get; set; }

    [Parameter]
    public double? Distance { get; set; }

    /// <summary>Cosine, where no distance is shown.</summary>
    [Parameter]
    public double? Similarity { get; set; }

    [Parameter]
    public string? Note { get; set; }

    /// <summary>It is the query itself.</summary>
    [Parameter]
    public bool Query { get; set; }

    /// <summary>Without words below.</summary>
    [Parameter]
    public bool Bare { get; set; }

    /// <summary>Shows the poster at once.</summary>
    [Parameter]
    public bool Eager { get; set; }

    private string Film => Links.Clip(Run, Id, View, true);

    private string Still => Links.Clip(Run, Id, View, false);

    private string? Kind => Hit switch { true => "hit", false => "miss", _ => Query ? "query" : null };

    private string? Words => Rank is { } rank ? Note is null ? $"#{rank}" : $"#{rank} {Note}" : Note;

    private string Nearness => Distance is { } distance ? distance.ToString("0.000", CultureInfo.InvariantCulture)
        : Similarity is { } similarity ? "cos " + similarity.ToString("0.000", CultureInfo.InvariantCulture) : "";

    private string Spoken => $"{(Query ? "Query" : Rank is { } rank ? $"Rank {rank}" : "Clip")}: {Class ?? Id}"
        + Hit switch { true => ", hit", false => ", miss", _ => "" } + (Rank is not null && Note is not null ? $", {Note}" : "")
        + (Distance is { } d ? $", distance {d.ToString("0.000", CultureInfo.InvariantCulture)}" : "");
}
