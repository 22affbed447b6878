// Why this exists: a run as a line over axes.
namespace CoCLR.Dashboard.Components.Controls;

/// <summary>A run as a line.</summary>
/// <param name="Name">Words in the legend.</param>
/// <param name="Values">A value for each axis; empty where there is none.</param>
public sealed record ParallelLine(string Name, string[] Values);
