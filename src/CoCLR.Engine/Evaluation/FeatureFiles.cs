// Why this exists: features outlive the stage that made them: the probe, retrieval, fusion, people's notebooks and spreadsheets read them
// from here.
using System.Globalization;
using System.Text;
using System.Text.Json.Serialization;
using CoCLR.Core;
using CoCLR.Core.Results;
using CoCLR.Engine.Features;
using CoCLR.Runs;
using Parquet;
using Parquet.Serialization;

namespace CoCLR.Engine.Evaluation;

/// <summary>
/// Reads and writes features: `NAME.npy` (N x D float32) with `NAME.json` (ids, labels, class names, groups), Parquet and CSV.
/// </summary>
public static class FeatureFiles
{
    private const int RowGroupSize = 1_000;

    /// <summary>Writes `NAME.npy` and `NAME.json` into a folder.</summary>
    /// <param name="features">The features.</param>
    /// <param name="folder">Where to.</param>
    /// <param name="name">For example `features-train`.</param>
    /// <exception cref="UserErrorException">The folder cannot be written (1).</exception>
    public static void WriteNpy(FeatureSet features, string folder, string name)
    {
        ArgumentNullException.ThrowIfNull(features);
        WholeFile.Write(
            Path.Combine(folder, name + ".npy"), stream => Npy.Write(stream, features.Values, features.Count, features.Dimension));
        var index =
            new FeatureIndex { Ids = features.Ids, Labels = features.Labels, ClassNames = features.ClassNames, Groups = features.Groups };
        WholeFile.WriteText(Path.Combine(folder, name + ".json"), ResultJson.Write(index, indented: false));
    }

    /// <summary>Reads `NAME.npy` and `NAME.json` from a folder.</summary>
    /// <param name="folder">Where from.</param>
    /// <param name="name">For example `features-train`.</param>
    /// <exception cref="UserErrorException">A file is missing (66) or the two do not fit (65).</exception>
    public static FeatureSet ReadNpy(string folder, string name)
    {
        var (values, shape) = Npy.ReadFloat32(Path.Combine(folder, name + ".npy"));
        var path = Path.Combine(folder, name + ".json");
        if (!File.Exists(path))
        {
            throw new UserErrorException(
                $"{path} is missing: it names the videos of {name}.npy. Run the stage that writes them again.", ExitCodes.MissingInput);
        }

        var index = ResultJson.Read<FeatureIndex>(File.ReadAllText(path), path);
        if (shape.Length != 2 || shape[0] != index.Ids.Length)
        {
            throw new UserErrorException($"{name}.npy has the shape ({string.Join(", ", shape)}) but {path} names {index.Ids.Length} "
                + $"videos: run the stage that writes them again.", ExitCodes.BadData);
        }

        return new FeatureSet(index.Ids, values, index.Labels, index.ClassNames, index.Groups);
    }

    /// <summary>Writes one row a video: id, label, class, f0 ... f(D-1).</summary>
    /// <param name="features">The features.</param>
    /// <param name="path">The file.</param>
    /// <exception cref="UserErrorException">The folder cannot be written (1).</exception>
    public static void WriteCsv(FeatureSet features, string path)
    {
        ArgumentNullException.ThrowIfNull(features);
        WholeFile.Write(path, stream =>
        {
            using var writer = new StreamWriter(stream, new UTF8Encoding(false), 1 << 16, leaveOpen: true);
            var line = new StringBuilder();
            line.Append("id,label,class");
            for (var d = 0; d < features.Dimension; d++)
            {
                line.Append(CultureInfo.InvariantCulture, $",f{d}");
            }

            writer.Write(line.Append('\n'));
            for (var row = 0; row < features.Count; row++)
            {
                line.Clear().Append(Csv.Cell(features.Ids[row])).Append(',').Append(Csv.Cell(features.LabelOf(row))).Append(',')
                    .Append(Csv.Cell(features.ClassOf(row)));
                foreach (var value in features[row])
                {
                    line.Append(CultureInfo.InvariantCulture, $",{value:R}");
                }

                writer.Write(line.Append('\n'));
            }
        });
    }

    /// <summary>
    /// Writes a Parquet file: columns `id`, `label`, `class` and `feature` (a list of D float32), in row groups of bounded size.
    /// </summary>
    /// <param name="features">The features.</param>
    /// <param name="path">The file.</param>
    /// <param name="cancellationToken">Stops between row groups.</param>
    /// <exception cref="UserErrorException">The folder cannot be written (1).</exception>
    public static async Task WriteParquetAsync(FeatureSet features, string path, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(features);
        var rows = Enumerable.Range(0, features.Count).Select(row => new FeatureRow
        {
            Id = features.Ids[row],
            Label = features.LabelOf(row),
            Class = features.ClassOf(row),
            Feature = features[row].ToArray(),
        });
        var options = new ParquetOptions { RowGroupSize = RowGroupSize };
        await WholeFile.WriteAsync(path, stream => ParquetSerializer.SerializeAsync(rows, stream, options, null, cancellationToken))
            .ConfigureAwait(false);
    }

    /// <summary>Reads what <see cref="WriteParquetAsync"/> wrote.</summary>
    /// <param name="path">The file.</param>
    /// <param name="cancellationToken">Stops between row groups.</param>
    /// <exception cref="UserErrorException">The file is missing (66) or no such file (65).</exception>
    public static async Task<FeatureSet> ReadParquetAsync(string path, CancellationToken cancellationToken = default)
    {
        if (!File.Exists(path))
        {
            throw new UserErrorException($"{path} is missing: write it with `coclr embed`.", ExitCodes.MissingInput);
        }

        try
        {
            var rows =
                (await ParquetSerializer.DeserializeAsync<FeatureRow>(path, null, null, cancellationToken).ConfigureAwait(false)).Data;
            var classNames = rows.Where(r => r.Label is not null).GroupBy(r => r.Label!.Value)
                .ToDictionary(g => g.Key, g => g.First().Class ?? "");
            return new FeatureSet(
                [.. rows.Select(r => r.Id)],
                [.. rows.SelectMany(r => r.Feature)],
                [.. rows.Select(r => r.Label ?? -1)],
                [
                    .. Enumerable.Range(0, classNames.Count == 0 ? 0 : classNames.Keys.Max() + 1)
                        .Select(i => classNames.GetValueOrDefault(i, ""))]);
        }
        catch (Exception e) when (e is IOException or InvalidDataException or ParquetException or NotSupportedException)
        {
            throw new UserErrorException(
                $"{path} is not a Parquet file of features: {e.Message} Write it again with `coclr embed`.", ExitCodes.BadData, e);
        }
    }

    private sealed class FeatureRow
    {
        [JsonPropertyName("id")]
        public string Id { get; set; } = "";

        [JsonPropertyName("label")]
        public int? Label { get; set; }

        [JsonPropertyName("class")]
        public string? Class { get; set; }

        [JsonPropertyName("feature")]
        public float[] Feature { get; set; } = [];
    }

    private sealed record FeatureIndex
    {
        public required string[] Ids { get; init; }

        public int[]? Labels { get; init; }

        public string[]? ClassNames { get; init; }

        public string[]? Groups { get; init; }
    }
}
