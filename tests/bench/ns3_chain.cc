// The chain of the bench in ns-3: six nodes, five point-to-point links of 10 Gbit/s and 1 ms, IPv4, no IPsec.
// Prints packets received and seconds of processor time of Simulator::Run.
// Built by tests/bench/ns3.py: g++ -O2, Debian's libns3-dev.
#include "ns3/applications-module.h"
#include "ns3/core-module.h"
#include "ns3/internet-module.h"
#include "ns3/network-module.h"
#include "ns3/point-to-point-module.h"

#include <cstdlib>
#include <ctime>
#include <iostream>

using namespace ns3;

int
main(int argc, char* argv[])
{
    const uint32_t packets = argc > 1 ? std::atoi(argv[1]) : 100000;
    const double interval = argc > 2 ? std::atof(argv[2]) : 10e-6; // seconds

    NodeContainer nodes(6);
    InternetStackHelper().Install(nodes);
    PointToPointHelper link;
    link.SetDeviceAttribute("DataRate", StringValue("10Gbps"));
    link.SetChannelAttribute("Delay", StringValue("1ms"));
    Ipv4AddressHelper addresses("10.0.0.0", "255.255.255.0");
    Ipv4InterfaceContainer last;
    for (uint32_t hop = 0; hop < 5; ++hop)
    {
        last = addresses.Assign(link.Install(nodes.Get(hop), nodes.Get(hop + 1)));
        addresses.NewNetwork();
    }
    Ipv4GlobalRoutingHelper::PopulateRoutingTables();

    UdpServerHelper server(9);
    ApplicationContainer sink = server.Install(nodes.Get(5));
    UdpClientHelper client(last.GetAddress(1), 9);
    client.SetAttribute("MaxPackets", UintegerValue(packets));
    client.SetAttribute("Interval", TimeValue(Seconds(interval)));
    client.SetAttribute("PacketSize", UintegerValue(1372));
    client.Install(nodes.Get(0)).Start(Seconds(0));
    Simulator::Stop(Seconds(packets * interval + 0.1));

    const std::clock_t began = std::clock();
    Simulator::Run();
    const double seconds = double(std::clock() - began) / CLOCKS_PER_SEC;
    std::cout << DynamicCast<UdpServer>(sink.Get(0))->GetReceived() << " " << seconds << std::endl;
    Simulator::Destroy();
}
