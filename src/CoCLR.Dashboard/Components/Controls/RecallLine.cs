// Why this exists: names a curve of recalls.
using CoCLR.Core.Results;

namespace CoCLR.Dashboard.Components.Controls;

/// <summary>Recalls of one view of one run.</summary>
/// <param name="Name">Words in the legend.</param>
/// <param name="Recalls">Recalls.</param>
public sealed record RecallLine(string Name, Recall[] Recalls);
