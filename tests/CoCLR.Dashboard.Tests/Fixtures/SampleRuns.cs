// Why this exists: run folders as the engine writes them, made in a second, so that storage, pages and API are tested on whole runs:
// learning, done, failed, empty.
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using CoCLR.Core;
using CoCLR.Core.Events;
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;
using CoCLR.Core.Results;
using MinedAnchor = CoCLR.Core.Events.MinedAnchor;

namespace CoCLR.Dashboard.Tests.Fixtures;

/// <summary>Writes run folders.</summary>
public sealed class SampleRuns(string folder, int seed = 7)
{
    /// <summary>The motion classes of the synthetic data set.</summary>
    public static readonly string[] Classes = ["circle", "zigzag", "bounce", "shake", "spiral", "drift", "pulse", "swing"];

    // A run that is learning is worked on: its lock is held as long as the tests run.
    private static readonly System.Collections.Concurrent.ConcurrentBag<CoCLR.Runs.RunLock> Held = [];

    private const int PerClass = 6;
    private readonly Random _random = new(seed);
    private readonly DateTimeOffset _start = DateTimeOffset.UtcNow.AddHours(-2);

    /// <summary>How far a run is written.</summary>
    public enum Until
    {
        /// <summary>Plan only.</summary>
        Planned,

        /// <summary>In the middle of learning.</summary>
        Learning,

        /// <summary>A training stage failed.</summary>
        Failed,

        /// <summary>Everything is done.</summary>
        Done,
    }

    /// <summary>Writes one run.</summary>
    /// <returns>Its id and folder.</returns>
    public (string Run, string Folder, StagePlan Plan) Write(
        string name,
        Method method,
        Until until = Until.Done,
        int seed = 0,
        int epochs = 12,
        int stepsPerEpoch = 20,
        double quality = 0.6,
        bool previews = true,
        bool held = true)
    {
        var spec = new ExperimentSpec
        {
            Dataset = new DatasetSpec { Source = new DatasetSource { Synthetic = new SyntheticSource() } },
            Model = new ModelSpec { Backbone = BackboneName.S3DMini },
            Clip = new ClipSpec { Frames = 16, Size = 64 },
            Training = new TrainingSpec { Method = method, Epochs = epochs, QueueSize = 256, BatchSize = 16 },
            Cotrain = new CotrainSpec { Cycles = 1, EpochsPerTurn = epochs },
            Seed = seed,
        };
        StagePlan plan = Planner.Plan(name, spec);
        string run = Path.Combine(folder, plan.Run);
        Directory.CreateDirectory(run);
        File.WriteAllText(Path.Combine(run, "plan.json"), JsonSerializer.Serialize(plan, CoclrJson.Indented));
        if (until == Until.Planned)
        {
            return (plan.Run, run, plan);
        }

        string methodName = method == Method.Cmc ? "CMC" : method.ToString();
        DateTimeOffset time = _start.AddSeconds(seed * 60);
        Stage[] training = [.. plan.Stages.Where(s => s.Kind is StageKind.Pretrain or StageKind.Cotrain)];
        foreach (Stage stage in plan.Stages)
        {
            bool last = until != Until.Done && stage.Name == training[^1].Name;
            var writer = new StageWriter(run, plan.Run, stage.Name, time);
            Begin(writer, stage, spec);
            if (stage.Kind is StageKind.Pretrain or StageKind.Cotrain)
            {
                Train(writer, stage, stage.Epochs ?? epochs, stepsPerEpoch, last ? 0.55 : 1, quality);
                if (last && until == Until.Learning)
                {
                    writer.Save();
                    if (held)
                    {
                        Held.Add(CoCLR.Runs.RunLock.TryTake(run)!);
                    }

                    break;
                }

                if (last)
                {
                    writer.Add(
                        new LogEvent
                        {
                            Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Level = "error",
                            Message = "CUDA out of memory: tried to allocate 2.4 GiB"
                        });
                    writer.Add(
                        new FinishedEvent
                        {
                            Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Outcome = StageOutcome.Failed, ExitCode = 1,
                            Message = "Out of memory on the device: set training.batchSize to 8, or clip.size to 112.", WallSeconds = 93
                        });
                    writer.Save();
                    break;
                }

                writer.Result(
                    new StageResult
                    {
                        Stage = stage.Name, View = View(stage), Method = methodName, DataSet = "synthetic", Device = "CPU (2 threads)",
                        WallSeconds = 61, Seed = seed, FinishedAt = writer.Time,
                        Outcome = new PretrainResult { Epochs = epochs, Steps = epochs * stepsPerEpoch, Loss = 1.2, PretextTop1 = quality }
                    });
            }
            else
            {
                Evaluate(writer, stage, methodName, quality + (stage.View == CoCLR.Core.Manifests.View.Flow ? 0.08 : 0), seed, epochs);
            }

            writer.Add(
                new FinishedEvent
                {
                    Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Outcome = StageOutcome.Succeeded, ExitCode = 0,
                    WallSeconds = (writer.Time - time).TotalSeconds
                });
            writer.Save();
            time = writer.Time.AddSeconds(1);
        }

        if (previews && until == Until.Done)
        {
            Previews(run);
        }

        return (plan.Run, run, plan);
    }

    /// <summary>The features that a search by a video compares with: two videos, two numbers each.</summary>
    public static void WriteGallery(string runFolder, string checkpoint)
    {
        string folder = Path.Combine(runFolder, "features", checkpoint);
        Directory.CreateDirectory(folder);
        foreach (string name in new[] { "train", "train-one-clip" })
        {
            byte[] header = Encoding.ASCII.GetBytes("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }".PadRight(117) + "\n");
            byte[] lengths = [(byte)header.Length, 0];
            float[] values = [1, 0, 0, 1];
            File.WriteAllBytes(
                Path.Combine(folder, name + ".npy"),
                [0x93, .. "NUMPY"u8, 1, 0, .. lengths, .. header, .. values.SelectMany(BitConverter.GetBytes)]);
            File.WriteAllText(Path.Combine(folder, name + ".json"), """{"ids":["a","b"]}""");
        }
    }

    /// <summary>Ids of the test videos.</summary>
    public static IEnumerable<(string Id, int Label)> Videos(string split) =>
        Enumerable.Range(0, Classes.Length)
            .SelectMany(c => Enumerable.Range(0, PerClass).Select(i => ($"{Classes[c]}/{split}_g{i / 2:00}_c{i % 2:00}", c)));

    private static string View(Stage stage) => stage.View is { } view ? view.Name() : "two-stream";

    private static void Begin(StageWriter writer, Stage stage, ExperimentSpec spec)
    {
        writer.Add(
            new StartedEvent
            {
                Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Version = "0.1.0", Device = "CPU (2 threads)", Host = "laptop",
                Epochs = stage.Epochs
            });
        writer.Add(
            new LogEvent
            {
                Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Level = "info",
                Message = $"\u001b[32m{stage.Name}\u001b[0m begins: {stage.Kind} with seed {spec.Seed}"
            });
        for (int i = 1; i <= 4; i++)
        {
            writer.Add(
                new ProgressEvent
                {
                    Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Phase = stage.Kind.ToString().ToLowerInvariant(),
                    Done = i * 120, Total = 480, Unit = "clips", EtaSeconds = 40 - (i * 10)
                });
        }
    }

    private void Train(StageWriter writer, Stage stage, int epochs, int stepsPerEpoch, double share, double quality)
    {
        int steps = (int)(epochs * stepsPerEpoch * share);
        double precision = 0.2;
        for (int step = 0; step < steps; step++)
        {
            double done = (double)step / (epochs * stepsPerEpoch);
            double loss = 0.9 + (4.6 * Math.Exp(-3 * done)) + (0.18 * (_random.NextDouble() - 0.5));
            var values = new Dictionary<string, double>
            {
                [MetricNames.Loss] = loss,
                [MetricNames.Top1] = Math.Clamp((quality * 1.2 * (1 - Math.Exp(-3 * done))) + (0.05 * (_random.NextDouble() - 0.5)), 0, 1),
                [MetricNames.Top5] = Math.Clamp(0.2 + (0.75 * (1 - Math.Exp(-4 * done))) + (0.04 * (_random.NextDouble() - 0.5)), 0, 1),
                [MetricNames.LearningRate] = done < 0.83 ? 1e-3 : 1e-4,
                [MetricNames.StepSeconds] = 0.25,
                [MetricNames.ClipsPerSecond] = 41 + (3 * _random.NextDouble()),
                [MetricNames.WaitShare] = 0.02 + (0.02 * _random.NextDouble()),
                [MetricNames.Memory] = (1.4e9 + (4e7 * Math.Sin(step / 9.0))),
                [MetricNames.CpuCores] = 1.8 + (0.2 * _random.NextDouble()),
            };
            if (step % stepsPerEpoch == stepsPerEpoch - 1)
            {
                values[MetricNames.MonitorKnn] = Math.Min(1, 0.125 + (quality * done));
                values[MetricNames.MonitorRecallAt1] = Math.Min(1, 0.125 + (quality * 0.8 * done));
                values[MetricNames.MonitorSeconds] = 0.1;
            }

            if (stage.Kind == StageKind.Cotrain)
            {
                precision += (0.72 - precision) * 0.012;
                values[MetricNames.MiningPrecision] = precision + (0.04 * (_random.NextDouble() - 0.5));
                values[MetricNames.MiningAgreement] = 0.3 + (0.3 * done);
            }

            writer.Time = writer.Time.AddSeconds(0.25);
            writer.Add(
                new MetricEvent
                {
                    Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Step = step, Epoch = (double)(step + 1) / stepsPerEpoch,
                    Values = values
                });
            if (step % stepsPerEpoch == stepsPerEpoch - 1)
            {
                int epoch = step / stepsPerEpoch;
                writer.Add(
                    new LogEvent
                    {
                        Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Level = "info",
                        Message = string.Create(
                            CultureInfo.InvariantCulture,
                            $"epoch {epoch + 1}/{epochs}  loss {loss:0.000}  top-1 {values[MetricNames.Top1]:P1}")
                    });
                writer.Add(
                    new CheckpointEvent
                    {
                        Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Epoch = epoch + 1, Step = step + 1,
                        File = $"stages/{stage.Name}/checkpoint.safetensors", Bytes = 4_200_000
                    });
                writer.Add(
                    new ProgressEvent
                    {
                        Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Phase = "train", Done = step + 1,
                        Total = epochs * stepsPerEpoch, Unit = "steps", EtaSeconds = (epochs * stepsPerEpoch - step) * 0.25
                    });
                NeighbourTable nearest = Neighbours(View(stage), 0.15 + (quality * done));
                writer.Artifact($"watched-{epoch + 1:D4}.json", nearest with { Queries = [.. nearest.Queries.Where((_, i) => i % 6 == 0)] });
                if (stage.MineWith != null && (epoch % 4 == 3 || epoch == 0))
                {
                    writer.Add(Mining(stage, epoch, step, precision));
                }
            }
        }
    }

    private MiningEvent Mining(Stage stage, int epoch, int step, double precision) => new()
    {
        Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Epoch = epoch, Step = step,
        Learner = View(stage), Miner = stage.View == CoCLR.Core.Manifests.View.Rgb ? "flow" : "rgb",
        Anchors = [.. Videos("train").Where((_, i) => i % 6 == 0).Select(a => new MinedAnchor
        {
            Video = a.Id,
            Class = Classes[a.Label],
            Positives = [.. Enumerable.Range(0, 5).Select(k =>
            {
                bool right = _random.NextDouble() < precision;
                int label = right ? a.Label : (a.Label + 1 + _random.Next(Classes.Length - 1)) % Classes.Length;
                return new MinedPositive
                {
                    Video = $"{Classes[label]}/train_g{_random.Next(3):00}_c{_random.Next(2):00}", Class = Classes[label],
                    Similarity = 0.95 - (0.04 * k), LearnerSimilarity = 0.5 - (0.1 * k) + (0.2 * _random.NextDouble()),
                    Correct = label == a.Label, Sibling = k == 0 && right
                };
            })],
        })],
    };

    private void Evaluate(StageWriter writer, Stage stage, string method, double quality, int seed, int epochs)
    {
        string view = View(stage);
        StageResult Result(Outcome outcome) => new()
        {
            Stage = stage.Name, View = view, Method = method, DataSet = "synthetic", Split = "test", Device = "CPU (2 threads)",
            EpochsTrained = epochs * 2, Seed = seed, WallSeconds = 12, FinishedAt = writer.Time, Outcome = outcome
        };
        switch (stage.Kind)
        {
            case StageKind.Probe:
            case StageKind.Finetune:
                (Accuracy accuracy, Prediction[] predictions) = Classify(quality);
                writer.Artifact("confusion.json", new ConfusionTable
                {
                    View = view,
                    ClassNames = Classes,
                    Counts = accuracy.Confusion,
                    Cells = [
                        .. predictions.GroupBy(p => (p.Label, p.Predicted)).Select(
                            g => new ConfusionCell { Label = g.Key.Label, Predicted = g.Key.Predicted, Ids = [.. g.Select(p => p.Id)] })],
                });
                writer.Artifact("projection.json", Projection(view, predictions, quality));
                writer.Result(Result(new ProbeResult
                {
                    Mode = "features", Accuracy = accuracy, Selection = CoCLR.Core.Manifests.Selection.Last, Epoch = 100, Epochs = 100,
                    TrainTop1 = 0.97, Predictions = predictions,
                    Knn =
                    [
                        new KnnAccuracy { K = 5, Vote = "weighted", Top1 = quality * 0.92, Top5 = 0.95 },
                        new KnnAccuracy { K = 20, Vote = "weighted", Top1 = quality * 0.94, Top5 = 0.96 }
                    ],
                }));
                break;
            case StageKind.Retrieve:
                writer.Artifact("neighbours.json", Neighbours(view, quality));
                writer.Result(Result(Retrieval(view, quality)));
                break;
            case StageKind.Fuse:
                (Accuracy fused, Prediction[] fusedPredictions) = Classify(quality + 0.12);
                writer.Artifact("neighbours.json", Neighbours(view, quality + 0.12));
                writer.Result(
                    Result(
                        new FusionResult { Probe = fused, Retrieval = Retrieval(view, quality + 0.12), Predictions = fusedPredictions }));
                break;
        }
    }

    private static RetrievalResult Retrieval(string view, double quality) => new()
    {
        Recalls = [
            .. new[] { 1, 5, 10, 20, 50 }.Select(
                k => new Recall
                {
                    K = k, Value = Math.Min(1, 1 - Math.Pow(1 - Math.Min(0.98, quality), Math.Pow(k, 0.45))),
                    Chance = 1 - Math.Pow(7.0 / 8, k)
                })],
        Gallery = CoCLR.Core.Manifests.Gallery.AllClips,
        Queries = Classes.Length * PerClass,
        GallerySize = Classes.Length * PerClass,
        ClassNames = Classes,
        NeighboursFile = "artifacts/neighbours.json",
    };

    private (Accuracy Accuracy, Prediction[] Predictions) Classify(double quality)
    {
        Prediction[] predictions = [.. Videos("test").Select(v =>
        {
            int predicted = _random.NextDouble() < quality ? v.Label : (v.Label + 1 + _random.Next(Classes.Length - 1)) % Classes.Length;
            return new Prediction
            {
                Id = v.Id, Label = v.Label, Predicted = predicted,
                Top5 = [predicted, (predicted + 1) % 8, (predicted + 2) % 8, (predicted + 3) % 8, (predicted + 4) % 8],
                Probability = 0.4 + (0.5 * _random.NextDouble())
            };
        })];
        int[][] confusion = [
            .. Enumerable.Range(0, 8)
                .Select(a => Enumerable.Range(0, 8).Select(b => predictions.Count(p => p.Label == a && p.Predicted == b)).ToArray())];
        return (new Accuracy
        {
            Top1 = predictions.Average(p => p.Label == p.Predicted ? 1.0 : 0),
            Top5 = predictions.Average(p => p.Top5.Contains(p.Label) ? 1.0 : 0), Chance = 1 / 8.0, Videos = predictions.Length,
            ClassNames = Classes, PerClass = [
                .. Enumerable.Range(0, 8).Select(
                    c => (double?)predictions.Where(p => p.Label == c).Average(p => p.Predicted == c ? 1.0 : 0))], Confusion = confusion,
        }, predictions);
    }

    private Projection Projection(string view, Prediction[] predictions, double quality)
    {
        var predicted = predictions.ToDictionary(p => p.Id, p => p.Predicted);
        return new Projection
        {
            View = view,
            Method = "tsne",
            ClassNames = Classes,
            Points = [.. Videos("test").Select(v => (v, "test")).Concat(Videos("train").Select(v => (v, "train"))).Select(v =>
            {
                double angle = v.v.Label * Math.PI / 4, spread = 0.42 * (1.1 - quality);
                return new ProjectedVideo
                {
                    Id = v.v.Id, Split = v.Item2, Label = v.v.Label, Predicted = predicted.TryGetValue(v.v.Id, out int p) ? p : null,
                    X = Math.Clamp((0.68 * Math.Cos(angle)) + Normal(spread), -1, 1),
                    Y = Math.Clamp((0.68 * Math.Sin(angle)) + Normal(spread), -1, 1)
                };
            })],
        };
    }

    private double Normal(double sigma) =>
        sigma * Math.Sqrt(-2 * Math.Log(1 - _random.NextDouble())) * Math.Cos(2 * Math.PI * _random.NextDouble());

    private NeighbourTable Neighbours(string view, double quality) => new()
    {
        View = view,
        Similarity = view == "two-stream" ? "sum of two cosines" : "cosine",
        ClassNames = Classes,
        Queries = [.. Videos("test").Select(q =>
        {
            Neighbour[] found = [.. Enumerable.Range(0, 10).Select(k =>
            {
                int label = _random.NextDouble() < quality ? q.Label : _random.Next(Classes.Length);
                double similarity = 0.97 - (0.03 * k) - (0.02 * _random.NextDouble());
                return new Neighbour
                {
                    Id = $"{Classes[label]}/train_g{_random.Next(3):00}_c{_random.Next(2):00}", Label = label, Class = Classes[label],
                    Similarity = similarity, Distance = 1 - similarity, Hit = label == q.Label
                };
            })];
            int first = Array.FindIndex(found, n => n.Hit == true);
            return new QueryNeighbours
            {
                Id = q.Id, Label = q.Label, Class = Classes[q.Label], FirstHit = first < 0 ? 14 : first + 1, AveragePrecision = quality,
                Neighbours = found
            };
        })],
    };

    /// <summary>Small films of a moving disc, one a class and view, linked under every video's name.</summary>
    private void Previews(string run)
    {
        string made = Path.Combine(folder, ".films");
        Directory.CreateDirectory(made);
        for (int c = 0; c < Classes.Length; c++)
        {
            foreach (string view in new[] { "rgb", "flow" })
            {
                string film = Path.Combine(made, $"{Classes[c]}-{view}");
                if (!File.Exists(film + ".mp4"))
                {
                    Film(film, c, view);
                }

                string target = Path.Combine(run, "previews", view);
                Directory.CreateDirectory(target);
                foreach ((string id, int label) in Videos("test").Concat(Videos("train")).Where(v => v.Label == c))
                {
                    string name = Path.Combine(target, CoCLR.Dashboard.Storage.Previews.FileName(id));
                    File.Copy(film + ".mp4", name + ".mp4", overwrite: true);
                    File.Copy(film + ".jpg", name + ".jpg", overwrite: true);
                }
            }
        }
    }

    private static void Film(string path, int index, string view)
    {
        string[] x = ["48+24*cos(T*6)", "mod(T*60,96)", "48", "48+20*sin(T*25)", "48+T*16*cos(T*8)", "20+T*40", "48", "48+34*sin(T*4)"];
        string[] y = ["48+24*sin(T*6)", "48+20*sin(T*20)", "80-60*abs(sin(T*4))", "48", "48+T*16*sin(T*8)", "48", "48", "30+20*cos(T*8)"];
        string r = index == 6 ? "(10+8*sin(T*9))" : "13";
        string inside = $"lt(hypot(X-({x[index]}),Y-({y[index]})),{r})";
        string lum = view == "rgb" ? $"if({inside},225,70+30*sin(X/9+{index})+20*cos(Y/7))" : $"if({inside},200,128)";
        string cb = view == "rgb" ? $"if({inside},{90 + (index * 14)},120)" : $"if({inside},{80 + (index * 12)},128)";
        string cr = view == "rgb" ? $"if({inside},{190 - (index * 12)},126)" : $"if({inside},{170 - (index * 10)},128)";
        Run(
            "ffmpeg",
            "-hide_banner",
            "-loglevel",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            $"color=c=gray:s=96x96:r=15:d=1.6,format=yuv420p,geq=lum='{lum}':cb='{cb.Replace("X-", "X*2-", StringComparison.Ordinal).Replace("Y-", "Y*2-", StringComparison.Ordinal)}':cr='{cr.Replace("X-", "X*2-", StringComparison.Ordinal).Replace("Y-", "Y*2-", StringComparison.Ordinal)}'",
            "-c:v",
            "libx264",
            "-pix_fmt",
            "yuv420p",
            "-movflags",
            "+faststart",
            path + ".mp4");
        Run("ffmpeg", "-hide_banner", "-loglevel", "error", "-y", "-i", path + ".mp4", "-frames:v", "1", path + ".jpg");
    }

    private static void Run(string command, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(command, arguments) { RedirectStandardError = true })
            ?? throw new InvalidOperationException(command);
        string errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, errors);
    }
}

/// <summary>Writes the folder of one stage.</summary>
public sealed class StageWriter(string runFolder, string run, string stage, DateTimeOffset time, int attempt = 1)
{
    private readonly StringBuilder _lines = new();
    private long _seq;

    /// <summary>Time of the next event.</summary>
    public DateTimeOffset Time { get; set; } = time;

    private string Folder => Path.Combine(runFolder, "stages", stage);

    /// <summary>Adds an event; identity and time are filled in.</summary>
    public RunEvent Add(RunEvent e)
    {
        Time = Time.AddMilliseconds(20);
        RunEvent full = e with { Run = run, Stage = stage, Attempt = attempt, Seq = _seq++, Time = Time };
        _lines.Append(JsonSerializer.Serialize(full, CoclrJson.Compact)).Append('\n');
        return full;
    }

    /// <summary>Writes an artifact and its event.</summary>
    public void Artifact<T>(string name, T value)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(ResultJson.Write(value, indented: false));
        Directory.CreateDirectory(Path.Combine(Folder, "artifacts"));
        File.WriteAllBytes(Path.Combine(Folder, "artifacts", name), bytes);
        Add(
            new ArtifactEvent
            {
                Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Name = name, File = $"stages/{stage}/artifacts/{name}",
                MediaType = "application/json", Bytes = bytes.Length, Sha256 = Convert.ToHexStringLower(SHA256.HashData(bytes))
            });
    }

    /// <summary>Writes the result and its event.</summary>
    public void Result(StageResult result)
    {
        string json = ResultJson.Write(result, indented: false);
        Directory.CreateDirectory(Folder);
        File.WriteAllText(Path.Combine(Folder, "result.json"), json);
        Add(new ResultEvent { Run = "", Stage = "", Attempt = 1, Seq = 0, Time = default, Result = JsonDocument.Parse(json).RootElement });
    }

    /// <summary>Appends what was added to events.jsonl.</summary>
    public void Save()
    {
        Directory.CreateDirectory(Folder);
        File.AppendAllText(Path.Combine(Folder, "events.jsonl"), _lines.ToString());
        _lines.Clear();
    }
}
