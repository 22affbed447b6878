// Why this exists: the process that `coclr up` and `coclr demo` start, and that runs beside the operator.
using CoCLR.Core;
using CoCLR.Dashboard;

try
{
    WebApplication app = DashboardApp.Build(args);
    await app.RunAsync();
    return ExitCodes.Done;
}
catch (UserErrorException e)
{
    await Console.Error.WriteLineAsync(e.Message);
    return e.ExitCode;
}
catch (IOException e) when (e.InnerException is Microsoft.AspNetCore.Connections.AddressInUseException)
{
    await Console.Error.WriteLineAsync(
        $"The dashboard cannot start: {e.Message} Stop the other process or give another address with --urls.");
    return ExitCodes.BadConfiguration;
}
