// Why this exists: how neighbours change while a network learns is looked at from small files, one a look, so that a resumed training
// overwrites none but its own.
using System.Globalization;
using CoCLR.Core;
using CoCLR.Core.Results;
using CoCLR.Runs;

namespace CoCLR.Engine.Features;

/// <summary>What was nearest to some held-out training videos at the end of an epoch: `artifacts/watched-EPOCH.json`.</summary>
public static class WatchedNeighbours
{
    private const string Name = "watched-";

    /// <summary>Writes a look.</summary>
    /// <param name="stageFolder">`RUN/stages/NAME`.</param>
    /// <param name="epoch">Epochs completed.</param>
    /// <param name="nearest">What was nearest.</param>
    /// <returns>The file.</returns>
    /// <exception cref="UserErrorException">The folder cannot be written (1, or 74 on a full disk).</exception>
    public static string Write(string stageFolder, int epoch, NeighbourTable nearest)
    {
        string file = Path.Combine(stageFolder, RunFolder.ArtifactsName, string.Create(CultureInfo.InvariantCulture, $"{Name}{epoch:D4}.json"));
        WholeFile.WriteText(file, ResultJson.Write(nearest, indented: false));
        return file;
    }

    /// <summary>The looks that a stage has left, in the order of their epochs.</summary>
    /// <param name="stageFolder">`RUN/stages/NAME`.</param>
    /// <exception cref="UserErrorException">One of them is damaged (65).</exception>
    public static IEnumerable<NeighbourTable> Read(string stageFolder)
    {
        string folder = Path.Combine(stageFolder, RunFolder.ArtifactsName);
        return !Directory.Exists(folder) ? [] : Directory.GetFiles(folder, Name + "*.json").Order(StringComparer.Ordinal)
            .Select(file => ResultJson.Read<NeighbourTable>(File.ReadAllText(file), file));
    }
}
