// Why this exists: the gallery, the confusion matrix and the map are drawn from files under a stage's `artifacts/`; their names and forms
// are decided here.
using CoCLR.Core;
using CoCLR.Core.Results;
using CoCLR.Runs;

namespace CoCLR.Engine.Evaluation;

/// <summary>Writes and reads what evaluation leaves in `RUN/stages/NAME/`.</summary>
public static class EvaluationArtifacts
{
    /// <summary>`artifacts/neighbours.json`, relative to the stage's folder.</summary>
    public const string Neighbours = RunFolder.ArtifactsName + "/neighbours.json";

    /// <summary>`artifacts/confusion.json`.</summary>
    public const string Confusion = RunFolder.ArtifactsName + "/confusion.json";

    /// <summary>`artifacts/previews.json`: which small video shows which video (<see cref="PreviewTable"/>).</summary>
    public const string Previews = RunFolder.ArtifactsName + "/previews.json";

    /// <summary>`artifacts/projection-METHOD.json`; the dashboard offers each that is there.</summary>
    /// <param name="method">`pca` or `tsne`.</param>
    public static string ProjectionOf(string method) => $"{RunFolder.ArtifactsName}/projection-{method}.json";

    /// <summary>Writes an artifact.</summary>
    /// <param name="stageFolder">`RUN/stages/NAME`.</param>
    /// <param name="name">One of the names of this class.</param>
    /// <param name="artifact">A <see cref="NeighbourTable"/>, <see cref="ConfusionTable"/> or <see cref="Projection"/>.</param>
    /// <typeparam name="T">The artifact's type.</typeparam>
    /// <exception cref="UserErrorException">The folder cannot be written (1).</exception>
    public static void Write<T>(string stageFolder, string name, T artifact) =>
        WholeFile.WriteText(Path.Combine(stageFolder, name), ResultJson.Write(artifact, indented: false));

    /// <summary>Reads an artifact.</summary>
    /// <param name="stageFolder">`RUN/stages/NAME`.</param>
    /// <param name="name">One of the names of this class.</param>
    /// <typeparam name="T">The artifact's type.</typeparam>
    /// <exception cref="UserErrorException">The file is missing (66) or damaged (65).</exception>
    public static T Read<T>(string stageFolder, string name)
    {
        var path = Path.Combine(stageFolder, name);
        return File.Exists(path)
            ? ResultJson.Read<T>(File.ReadAllText(path), path)
            : throw new UserErrorException($"{path} is missing: run the stage that writes it.", ExitCodes.MissingInput);
    }

    /// <summary>Ids of all videos that a gallery shows: queries and their neighbours, each once, in a stable order.</summary>
    /// <param name="table">The gallery.</param>
    public static string[] VideosOf(NeighbourTable table)
    {
        ArgumentNullException.ThrowIfNull(table);
        return [
            .. table.Queries.SelectMany(q => q.Neighbours.Select(n => n.Id).Prepend(q.Id)).Distinct(StringComparer.Ordinal)
                .Order(StringComparer.Ordinal)];
    }
}
