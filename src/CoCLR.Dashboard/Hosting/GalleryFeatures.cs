// Why this exists: a query is compared with the features that the run has left; they are read as plain numbers, never as a model.
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Storage;
using CoCLR.Runs;

namespace CoCLR.Dashboard.Hosting;

/// <summary>Features of a run's gallery.</summary>
internal sealed class GalleryFeatures
{
    private readonly float[] _values;
    private readonly int _dimension;
    private readonly string[] _ids;
    private readonly int[] _labels;
    private readonly string[] _classNames;

    private GalleryFeatures(float[] values, int dimension, string[] ids, int[] labels, string[] classNames) =>
        (_values, _dimension, _ids, _labels, _classNames) = (values, dimension, ids, labels, classNames);

    /// <summary>Reads FOLDER/NAME.npy and FOLDER/NAME.json of a run.</summary>
    public static GalleryFeatures Read(RunInfo run, string folder, string name)
    {
        using FileStream? numbers = ArtifactFiles.Open(run.Folder, $"{folder}/{name}.npy");
        using FileStream? index = ArtifactFiles.Open(run.Folder, $"{folder}/{name}.json");
        if (numbers == null || index == null)
        {
            throw new UserErrorException("The run's features are gone: run its retrieval stage again.", ExitCodes.MissingInput);
        }

        (float[] values, int[] shape) = Npy.ReadFloat32(numbers, $"{folder}/{name}.npy");
        try
        {
            Names names = JsonSerializer.Deserialize<Names>(index, JsonSerializerOptions.Web)!;
            if (shape is not [var rows, var columns] || names.Ids.Length != rows)
            {
                throw new UserErrorException("The features do not match their index: run the retrieval stage again.", ExitCodes.BadData);
            }

            return new GalleryFeatures(values, columns, names.Ids, names.Labels ?? [], names.ClassNames ?? []);
        }
        catch (JsonException e)
        {
            throw new UserErrorException("The index of the features is damaged: run the retrieval stage again.", ExitCodes.BadData, e);
        }
    }

    /// <summary>The videos nearest to one of the gallery, without itself.</summary>
    /// <param name="id">Id of the video.</param>
    /// <param name="count">How many.</param>
    /// <exception cref="UserErrorException">It is not in the gallery (65).</exception>
    public Neighbour[] NearestTo(string id, int count)
    {
        int at = Array.IndexOf(_ids, id);
        return at < 0
            ? throw new UserErrorException(
                $"The clip '{id}' is not in this run's gallery, so it cannot be searched by its features.", ExitCodes.BadData)
            : [.. Nearest(_values[(at * _dimension)..((at + 1) * _dimension)], count + 1).Where(n => n.Id != id).Take(count)];
    }

    /// <summary>The nearest videos by cosine after the gallery's mean is taken off.</summary>
    public Neighbour[] Nearest(float[] query, int count)
    {
        if (query.Length != _dimension)
        {
            throw new UserErrorException(
                $"The checkpoint makes {query.Length} numbers a video, the gallery has {_dimension}: they do not belong together.",
                ExitCodes.BadData);
        }

        var mean = new double[_dimension];
        for (int i = 0; i < _values.Length; i++)
        {
            mean[i % _dimension] += _values[i];
        }

        for (int j = 0; j < _dimension; j++)
        {
            mean[j] /= _ids.Length;
        }

        double[] q = [.. query.Select((v, j) => v - mean[j])];
        double length = Math.Sqrt(q.Sum(v => v * v));
        return
        [
            .. Enumerable.Range(0, _ids.Length).Select(i =>
            {
                double dot = 0, own = 0;
                for (int j = 0; j < _dimension; j++)
                {
                    double v = _values[(i * _dimension) + j] - mean[j];
                    dot += v * q[j];
                    own += v * v;
                }

                return (Index: i, Similarity: dot / Math.Max(1e-12, length * Math.Sqrt(own)));
            }).OrderByDescending(n => n.Similarity).Take(count).Select(n => new Neighbour
            {
                Id = _ids[n.Index],
                Label = n.Index < _labels.Length && _labels[n.Index] >= 0 ? _labels[n.Index] : null,
                Class = n.Index < _labels.Length && _labels[n.Index] >= 0
                    && _labels[n.Index] < _classNames.Length ? _classNames[_labels[n.Index]] : null,
                Similarity = n.Similarity,
                Distance = Math.Max(0, 1 - n.Similarity),
            }),
        ];
    }

    private sealed record Names(string[] Ids, int[]? Labels, string[]? ClassNames);
}
