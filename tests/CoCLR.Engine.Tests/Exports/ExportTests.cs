// Why this exists: other people's tools must read what is exported, number for number.
using CoCLR.Core;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using CoCLR.Engine.Evaluation;
using CoCLR.Engine.Exports;
using CoCLR.Engine.Tests.Video;
using CoCLR.Runs;
using Parquet;
using Tensorboard;

namespace CoCLR.Engine.Tests.Exports;

public sealed class ExportTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Points_OfAllAttempts_GoToParquet_AndTheNewestToTensorBoard()
    {
        RunFolder run = Run();
        MetricPoint[] points = [.. RunPoints.Read(run)];
        Assert.Equal(6, points.Length);
        await PointFiles.WriteParquetAsync("r", points, _folder.File("points.parquet"), TestContext.Current.CancellationToken);
        await using (
            ParquetReader reader =
                await ParquetReader.CreateAsync(_folder.File("points.parquet"), cancellationToken: TestContext.Current.CancellationToken))
        {
            Assert.Equal(
                ["run", "stage", "attempt", "step", "epoch", "time", "name", "value"], reader.Schema.DataFields.Select(f => f.Name));
        }

        MetricPoint[] newest = [.. RunPoints.Newest(points)];
        Assert.Equal([(0, 3.0), (1, 1.5), (2, double.NaN)], newest.Where(p => p.Name == "loss").Select(p => ((int)p.Step, p.Value)));
        PointFiles.WriteTensorBoard(run, newest, _folder.File("logs"), TestContext.Current.CancellationToken);
        Event[] events = [.. Records(Directory.GetFiles(_folder.File("logs", "pretrain-rgb")).Single()).Select(Event.Parser.ParseFrom)];
        Assert.Equal("brain.Event:2", events[0].FileVersion);
        Assert.Equal(
            [("loss", 0L, 3f), ("rate", 0L, 0.1f), ("loss", 1L, 1.5f), ("loss", 2L, float.NaN), ("later", 2L, 4f)],
            events.Skip(1).Select(e => (e.Summary.Value[0].Tag, e.Step, e.Summary.Value[0].SimpleValue)));
        Assert.Equal(1764316801.5, events[1].WallTime, 3);
    }

    [Fact]
    public void FolderReport_EscapesNames_AndPlaysWhatItCopied()
    {
        RunFolder run = Run();
        Directory.CreateDirectory(_folder.File("run", "previews"));
        File.WriteAllText(_folder.File("run", "previews", "1.mp4"), "film");
        File.WriteAllText(_folder.File("run", "previews", "1.jpg"), "still");
        EvaluationArtifacts.Write(run.Stage("retrieve-rgb"), EvaluationArtifacts.Neighbours, new NeighbourTable
        {
            View = "rgb",
            Similarity = "cosine",
            Queries = [
                new QueryNeighbours
                {
                    Id = "<script>alert(1)</script>.mp4", Class = "a",
                    Neighbours = [new Neighbour { Id = "b.mp4", Class = "a", Similarity = 0.5, Distance = 0.5 }]
                }],
        });
        EvaluationArtifacts.Write(
            run.Stage("report"),
            EvaluationArtifacts.Previews,
            new PreviewTable { Previews = [new Preview("b.mp4", "rgb", "previews/1.mp4", "previews/1.jpg")] });
        Assert.Equal(
            ExitCodes.MissingInput, Assert.Throws<UserErrorException>(() => FolderReport.Write(run, _folder.File("out"))).ExitCode);
        run.WriteReport(
            new RunReport { Name = "a & b", DataSet = "d", Device = "CPU", Rows = [], Warnings = ["1 test video is in training too"] });
        string index = File.ReadAllText(FolderReport.Write(run, _folder.File("out")));
        Assert.Contains("a &amp; b", index, StringComparison.Ordinal);
        Assert.Contains("Careful: 1 test video", index, StringComparison.Ordinal);
        Assert.Contains("<polyline", index, StringComparison.Ordinal);
        string gallery = File.ReadAllText(_folder.File("out", "gallery-retrieve-rgb.html"));
        Assert.Contains("&lt;script&gt;alert(1)", gallery, StringComparison.Ordinal);
        Assert.Contains("src=\"previews/1.mp4\" poster=\"previews/1.jpg\"", gallery, StringComparison.Ordinal);
        Assert.Contains("<figure class=\"hit\">", gallery, StringComparison.Ordinal);
        Assert.True(File.Exists(_folder.File("out", "previews", "1.mp4")));
    }

    private RunFolder Run()
    {
        var folder = new RunFolder(_folder.File("run"));
        folder.Adopt(
            Planner.Plan(
                "a",
                new ExperimentSpec
                {
                    Dataset = new DatasetSpec { Source = new DatasetSource { Path = "/v" } }, Views = [View.Rgb],
                    Training = new TrainingSpec { Method = Method.InfoNCE }
                },
                "r"));
        Directory.CreateDirectory(folder.Stage("pretrain-rgb"));
        string Line(int attempt, int step, string values) =>
            $$"""{"kind":"metric","run":"r","stage":"pretrain-rgb","attempt":{{attempt}},"seq":{{step}},"time":"2025-11-28T08:00:0{{attempt}}.5Z","step":{{step}},"epoch":0.5,"values":{{values}}}""";
        File.WriteAllText(
            folder.EventsFile("pretrain-rgb"),
            string.Join(
                '\n',
                Line(1, 0, "{\"loss\":3,\"rate\":0.1}"),
                Line(1, 1, "{\"loss\":2}"),
                "{\"kind\":\"log\",\"torn",
                Line(2, 1, "{\"loss\":1.5}"),
                Line(2, 2, "{\"loss\":\"NaN\",\"later\":4}"),
                ""));
        return folder;
    }

    private static IEnumerable<byte[]> Records(string file)
    {
        using var reader = new BinaryReader(File.OpenRead(file));
        while (reader.BaseStream.Position < reader.BaseStream.Length)
        {
            byte[] length = reader.ReadBytes(8);
            Assert.Equal(Checksum(length), reader.ReadUInt32());
            byte[] data = reader.ReadBytes((int)BitConverter.ToInt64(length));
            Assert.Equal(Checksum(data), reader.ReadUInt32());
            yield return data;
        }
    }

    /// <summary>As the format's description has it, with the table of TorchSharp.</summary>
    private static uint Checksum(byte[] data)
    {
        uint crc = TorchSharp.Utils.CRC32C.process(data);
        return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
    }
}
