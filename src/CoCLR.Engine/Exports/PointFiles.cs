// Why this exists: people look at their curves in the tools that they have: TensorBoard reads event files, everything else reads Parquet.
using System.Buffers.Binary;
using System.Numerics;
using System.Text.Json.Serialization;
using CoCLR.Core.Results;
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Video.Decoding;
using CoCLR.Runs;
using Google.Protobuf;
using Parquet;
using Parquet.Serialization;
using Tensorboard;

namespace CoCLR.Engine.Exports;

/// <summary>Writes the points of a run for other tools.</summary>
public static class PointFiles
{
    private const int RowGroupSize = 100_000;
    private const int MostVideos = 24;

    /// <summary>All points as Parquet: run, stage, attempt, step, epoch, time, name, value.</summary>
    /// <param name="run">Id of the run.</param>
    /// <param name="points">The points.</param>
    /// <param name="file">The file.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static Task WriteParquetAsync(
        string run, IEnumerable<MetricPoint> points, string file, CancellationToken cancellationToken = default)
    {
        IEnumerable<PointRow> rows = points.Select(p => new PointRow
        {
            Run = run, Stage = p.Stage, Attempt = p.Attempt, Step = p.Step, Epoch = p.Epoch, Time = p.Time.UtcDateTime, Name = p.Name,
            Value = p.Value,
        });
        return WholeFile.WriteAsync(
            file,
            stream => ParquetSerializer.SerializeAsync(
                rows, stream, new ParquetOptions { RowGroupSize = RowGroupSize }, null, cancellationToken));
    }

    /// <summary>TensorBoard's event files, a folder a stage; previews of the run as playing images.</summary>
    /// <param name="folder">The run folder.</param>
    /// <param name="points">The points that count.</param>
    /// <param name="logs">Log directory of TensorBoard.</param>
    /// <param name="cancellationToken">Stops.</param>
    public static void WriteTensorBoard(
        RunFolder folder, IEnumerable<MetricPoint> points, string logs, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(folder);
        foreach (IGrouping<string, MetricPoint> stage in points.GroupBy(p => p.Stage))
        {
            WriteEvents(Path.Combine(logs, stage.Key), stage.Min(p => p.Time), stage.OrderBy(p => p.Time).Select(p => new Event
            {
                WallTime = Seconds(p.Time),
                Step = p.Step,
                Summary = new Summary { Value = { new Summary.Types.Value { Tag = p.Name, SimpleValue = (float)p.Value } } },
            }));
        }

        string table = Path.Combine(folder.Stage(Core.Planning.Planner.ReportStage), EvaluationArtifacts.Previews);
        if (File.Exists(table))
        {
            Preview[] previews = ResultJson.Read<PreviewTable>(File.ReadAllText(table), table).Previews;
            DateTimeOffset made = File.GetLastWriteTimeUtc(table);
            WriteEvents(Path.Combine(logs, RunFolder.PreviewsName), made, previews.Where(p => File.Exists(Path.Combine(folder.Root, p.Video))).Take(MostVideos).Select(p => new Event
            {
                WallTime = Seconds(made),
                Summary = new Summary { Value = { new Summary.Types.Value { Tag = $"{p.View}/{p.Id}", Image = Gif(Path.Combine(folder.Root, p.Video), cancellationToken) } } },
            }));
        }
    }

    private static void WriteEvents(string folder, DateTimeOffset begun, IEnumerable<Event> events)
    {
        string name = $"events.out.tfevents.{begun.ToUnixTimeSeconds()}.coclr";
        WholeFile.Write(Path.Combine(folder, name), stream =>
        {
            WriteRecord(stream, new Event { WallTime = Seconds(begun), FileVersion = "brain.Event:2" });
            foreach (Event item in events)
            {
                WriteRecord(stream, item);
            }
        });
    }

    /// <summary>A record of TensorFlow's: length, masked CRC-32C of the length, data, masked CRC-32C of the data.</summary>
    private static void WriteRecord(Stream stream, Event item)
    {
        byte[] data = item.ToByteArray();
        Span<byte> head = stackalloc byte[12];
        BinaryPrimitives.WriteInt64LittleEndian(head, data.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(head[8..], Masked(head[..8]));
        stream.Write(head);
        stream.Write(data);
        Span<byte> tail = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(tail, Masked(data));
        stream.Write(tail);
    }

    /// <summary>CRC-32C, turned by 15 bits and moved, so that a sum of a sum is none.</summary>
    internal static uint Masked(ReadOnlySpan<byte> bytes)
    {
        uint crc = uint.MaxValue;
        foreach (byte value in bytes)
        {
            crc = BitOperations.Crc32C(crc, value);
        }

        return BitOperations.RotateRight(~crc, 15) + 0xa282ead8;
    }

    private static Summary.Types.Image Gif(string video, CancellationToken cancellationToken)
    {
        using var process = FfmpegTool.Start(
            "ffmpeg",
            ["-hide_banner", "-nostdin", "-loglevel", "level+error", .. FfmpegTool.Input(video), "-f", "gif", "pipe:1"],
            only: video);
        using var kill = cancellationToken.Register(() => FfmpegTool.Kill(process));
        var log = FfmpegTool.FfmpegLog.ReadAsync(process.StandardError);
        using var gif = new MemoryStream();
        process.StandardOutput.BaseStream.CopyTo(gif);
        process.WaitForExit();
        log.GetAwaiter().GetResult();
        cancellationToken.ThrowIfCancellationRequested();
        byte[] bytes = gif.ToArray();
        bool whole = bytes.Length > 10;
        return new Summary.Types.Image
        {
            Colorspace = 3,
            Width = whole ? BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(6)) : 0,
            Height = whole ? BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(8)) : 0,
            EncodedImageString = ByteString.CopyFrom(bytes),
        };
    }

    private static double Seconds(DateTimeOffset time) => time.ToUnixTimeMilliseconds() / 1000.0;

    private sealed class PointRow
    {
        [JsonPropertyName("run")]
        public string Run { get; set; } = "";

        [JsonPropertyName("stage")]
        public string Stage { get; set; } = "";

        [JsonPropertyName("attempt")]
        public int Attempt { get; set; }

        [JsonPropertyName("step")]
        public long Step { get; set; }

        [JsonPropertyName("epoch")]
        public double? Epoch { get; set; }

        [JsonPropertyName("time")]
        public DateTime Time { get; set; }

        [JsonPropertyName("name")]
        public string Name { get; set; } = "";

        [JsonPropertyName("value")]
        public double Value { get; set; }
    }
}
