// Why this exists: the cluster as a program, for trying things out with kubectl and for `coclr up --cluster`.
using CoCLR.TrialCluster;

string? Option(string name)
{
    var at = Array.IndexOf(args, name);
    return at >= 0 && at + 1 < args.Length ? args[at + 1] : null;
}

if (args.Contains("--help"))
{
    Console.WriteLine("""
        A Kubernetes API server with a small set of controllers, in one process.
          --port N            port on 127.0.0.1 (default: a free one)
          --kubeconfig FILE   where to write the administrator's kubeconfig
          --folder DIR        where pods, claims and logs are kept (default: a temporary folder)
          --image PATTERN=CMD program that stands for an image, may be repeated: 'coclr-engine:*=/path/coclr'
          --gpus N            GPUs of the one node (default 8)
          --no-pods           do not run pods
        """);
    return 0;
}

var images = new List<ImageProgram>();
for (var i = 0; i + 1 < args.Length; i++)
{
    if (args[i] == "--image" && args[i + 1].Split('=', 2) is [var pattern, var command])
    {
        images.Add(ImageProgram.For(pattern, command.Split(' ')));
    }
}

var options = new InProcessClusterOptions
{
    Port = int.Parse(Option("--port") ?? "0", System.Globalization.CultureInfo.InvariantCulture),
    KubeconfigPath = Option("--kubeconfig"),
    Folder = Option("--folder"),
    RunPods = !args.Contains("--no-pods"),
    Nodes = [new TrialNode("node-1", Gpus: int.Parse(Option("--gpus") ?? "8", System.Globalization.CultureInfo.InvariantCulture))],
    Images = images,
    Output = Console.Error.WriteLine,
};
await using var cluster = await InProcessCluster.StartAsync(options);
Console.WriteLine($"API server: {cluster.Url}");
Console.WriteLine($"KUBECONFIG={cluster.KubeconfigPath}");
var stopped = new TaskCompletionSource();
using var interrupt = System.Runtime.InteropServices.PosixSignalRegistration.Create(System.Runtime.InteropServices.PosixSignal.SIGINT, c =>
{
    c.Cancel = true;
    stopped.TrySetResult();
});
using var terminate = System.Runtime.InteropServices.PosixSignalRegistration.Create(System.Runtime.InteropServices.PosixSignal.SIGTERM, c =>
{
    c.Cancel = true;
    stopped.TrySetResult();
});
await stopped.Task;
return 0;
